"""Clients that leave: the upstream is closed, and what is certain and what is not is booked."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore_testing.simulator import Fault, Simulator
from tests.kits.gateway import MODEL, Served, make_config, serving
from tests.kits.waiting import wait_until


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def send(gateway: Served, **fields: Any) -> socket.socket:
    """Send a chat and return its connection, without waiting for the answer."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], **fields})
    client = socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=60)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall((head + body).encode())
    return client


def get_rows(gateway: Served) -> list[dict[str, Any]]:
    return [row for row in gateway.core.usage.export() if row["state"] != "hit"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_client_that_leaves_before_the_first_byte_ends_the_request(
    upstream: Simulator, tmp_path: Path, *, streaming: bool
) -> None:
    with serving(make_config(upstream, tmp_path)) as gateway:
        upstream.hold()
        for count in range(1, 6):
            with send(gateway, stream=streaming, seed=count):
                upstream.wait_for_requests(count, 60)
            assert upstream.wait_for(lambda: upstream.in_flight == 0, 60), "the upstream is closed"
        wait_until(lambda: all(row["state"] == "failed" for row in get_rows(gateway)))
        rows = get_rows(gateway)
        assert len(rows) == 5
        assert all(row["uncertain"] for row in rows), "the upstream may bill what it had received"
        wait_until(lambda: gateway.application.state.metrics.in_progress == 0)
        assert "llmcore_disconnects_total" in gateway.application.state.metrics.render()


@pytest.mark.slow
def test_a_client_that_leaves_inside_a_stream_ends_the_request(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path)) as gateway:
        upstream.fail(Fault.slow(bytes_per_second=600), times=None)
        with send(gateway, stream=True) as client:
            received = b""
            while b"data: " not in received:
                received += client.recv(1000)
        assert upstream.wait_for(lambda: upstream.counts["gone"] == 1, 60)
        wait_until(lambda: [row["state"] for row in get_rows(gateway)] == ["failed"])
        assert get_rows(gateway)[0]["uncertain"]


def test_nothing_is_written_to_a_client_that_has_disconnected(
    upstream: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(make_config(upstream, tmp_path)) as gateway:
        for seed in range(10):
            upstream.replies("word " * 300)
            with send(gateway, stream=True, seed=seed) as client:
                client.recv(1)
        wait_until(lambda: gateway.application.state.metrics.in_progress == 0)
    assert [record for record in caplog.records if record.name == "asyncio"] == [], "a write that failed"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_may_finish_without_its_client(
    upstream: Simulator, tmp_path: Path, *, streaming: bool
) -> None:
    with serving(make_config(upstream, tmp_path), on_disconnect="finish") as gateway:
        upstream.hold()
        with send(gateway, stream=streaming):
            upstream.wait_for_requests(1, 60)
        wait_until(lambda: gateway.application.state.finishing)
        upstream.release()
        wait_until(lambda: not gateway.application.state.finishing)
        answer = gateway.chat()
        assert (answer.status_code, answer.headers["x-llmcore-cached"]) == (200, "true")
        assert upstream.counts["requests"] == 1


def test_a_client_that_leaves_takes_nothing_from_others_of_the_same_request(
    upstream: Simulator, tmp_path: Path
) -> None:
    with serving(make_config(upstream, tmp_path)) as gateway:
        upstream.hold()
        first, second = send(gateway), send(gateway)
        upstream.wait_for_requests(1, 60)
        wait_until(lambda: gateway.application.state.metrics.in_progress == 2)
        first.close()
        wait_until(lambda: gateway.application.state.metrics.in_progress == 1)
        upstream.release()
        with second:
            assert second.recv(100).startswith(b"HTTP/1.1 200 ")
        assert upstream.counts["requests"] == 1


def test_silence_in_a_stream_is_filled_with_comments(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), keepalive=0.1) as gateway:
        upstream.hold()
        with send(gateway, stream=True) as client:
            received = b""
            while received.count(b": keepalive\n\n") < 2:
                received += client.recv(1000)
            upstream.release()
            while b"[DONE]" not in received:
                received += client.recv(10_000)
        text = received.decode()
        assert text.startswith("HTTP/1.1 200 ")
        assert '"content"' in text
