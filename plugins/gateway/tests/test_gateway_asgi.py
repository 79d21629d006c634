"""`create_app` on an ASGI server that is not uvicorn: chats, streams, and clients that disconnect."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

import llmcore
from llmcore_gateway import create_app
from llmcore_testing.simulator import Simulator
from tests.kits.gateway import MODEL, PATIENCE_S, make_config
from tests.kits.waiting import wait_until

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator, tmp_path: Path) -> Iterator[llmcore.Core]:
    with llmcore.load(make_config(upstream, tmp_path)) as core:
        yield core


@pytest.fixture
def http(core: llmcore.Core) -> Iterator[httpx2.Client]:
    """Serve *core* with hypercorn in a thread; yield a client."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await serve(create_app(core), config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]  # plain dicts

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http:
        yield http
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_chats_streams_and_errors(http: httpx2.Client) -> None:
    answer = http.post("/v1/chat/completions", json=BODY)
    assert answer.json()["choices"][0]["message"]["content"] == "This is a simulated answer to: Hello"
    stream = http.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.endswith("data: [DONE]\n\n")
    assert http.post("/v1/chat/completions", content=b"{").status_code == 400
    assert http.request("HEAD", "/health/live").status_code == 200


def test_a_client_that_disconnects_ends_its_request(
    http: httpx2.Client, core: llmcore.Core, upstream: Simulator
) -> None:
    upstream.hold()
    for streaming in (False, True):
        data = json.dumps({**BODY, "stream": streaming, "seed": int(streaming)}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", http.base_url.port or 0)) as client:
            client.sendall(head.encode() + data)
            assert upstream.wait_for(lambda: upstream.in_flight == 1, PATIENCE_S)
        assert upstream.wait_for(lambda: upstream.in_flight == 0, PATIENCE_S)
    wait_until(lambda: [row["state"] for row in core.usage.export()] == ["failed", "failed"])
