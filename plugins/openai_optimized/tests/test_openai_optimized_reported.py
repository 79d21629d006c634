"""Errors that come with status 200, over real HTTP: in complete answers and streams, in sync and async."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from llmcore import errors as ours
from llmcore.errors import ProviderError
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider

REQUEST = ChatRequest(model="m", messages=[{"role": "user", "content": "q"}], timeout_s=20, idle_s=20)
DIED = {"code": 502, "message": "the upstream died"}


class Upstream(ThreadingHTTPServer):
    """Answers every request with `body` and status 200."""

    daemon_threads = True
    kind = "application/json"
    body = b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", self.server.kind)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def provider(upstream: Upstream) -> Iterator[OpenAIProvider]:
    url = f"http://127.0.0.1:{upstream.server_address[1]}/v1"
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test-key"), base_url=url))
    yield made
    made.close()


def catch_error(provider: OpenAIProvider, way: str) -> ProviderError:
    async def drain() -> None:
        async for _ in provider.astream(REQUEST):
            pass

    def ask() -> None:
        match way:
            case "complete":
                provider.complete(REQUEST)
            case "acomplete":
                asyncio.run(provider.acomplete(REQUEST))
            case "stream":
                list(provider.stream(REQUEST))
            case _:
                asyncio.run(drain())

    with pytest.raises(ProviderError) as caught:
        ask()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def make_completion(content: str = "Half of", **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


@pytest.mark.parametrize("way", ["complete", "acomplete", "stream", "astream"])
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (make_completion(error=DIED, finish_reason="error"), ("Unavailable", "the upstream died")),
        (make_completion("", error=DIED, finish_reason="error"), ("Unavailable", "the upstream died")),
        (make_completion(error={"code": "429", "message": "slow"}), ("RateLimited", "slow")),
        (make_completion(finish_reason="error"), ("Unavailable", "without a message")),
        ({**make_completion(), "error": DIED}, ("Unavailable", "the upstream died")),
        ({"object": "error", "message": "bad", "code": 400}, ("BadRequest", "bad")),
        ({"detail": "Too many", "status": 429}, ("RateLimited", "Too many")),
        ({"errors": [{"message": "Wrong", "code": 401}]}, ("AuthenticationFailed", "Wrong")),
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no money"}}, ("QuotaExhausted", "no money")),
        ({"error": "Unexpected endpoint or method. (POST /x)"}, ("NotFound", "Unexpected endpoint")),
        ([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}}], ("RateLimited", "slow")),
    ],
)  # fmt: skip
def test_an_error_in_a_complete_answer_is_raised(
    upstream: Upstream, provider: OpenAIProvider, way: str, document: Any, expected: tuple[str, str]
) -> None:
    upstream.kind, upstream.body = "application/json", json.dumps(document).encode()
    error = catch_error(provider, way)
    assert type(error) is getattr(ours, expected[0])
    assert expected[1] in error.message


FIRST = b'data: {"model": "m", "choices": [{"index": 0, "delta": {"content": "Half of"}}]}\n\n'
FAILED = json.dumps(
    {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": DIED}]}
)
FAULT = json.dumps({"error": {"code": 429, "message": "slow"}})


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (f"data: {FAILED}", ("Unavailable", "the upstream died")),
        (f"data: {FAULT}", ("RateLimited", "slow")),
        (f"event: error\ndata: {FAULT}", ("RateLimited", "slow")),
        ('event: error\ndata: {"code": 503, "message": "busy"}', ("Unavailable", "busy")),
        ("event: error\ndata: out of memory", ("Unavailable", "out of memory")),
        (
            'error: {"code": 400, "message": "too long", "type": "exceed_context_size_error"}',
            ("BadRequest", "too long"),
        ),
        (FAULT, ("RateLimited", "slow")),
        ('data: {"object": "error", "message": "bad", "code": 400}', ("BadRequest", "bad")),
        ('data: {"detail": "Too many", "status": 429}', ("RateLimited", "Too many")),
        ('data: {"errors": ["first", "second"]}', ("Unavailable", "first: second")),
        ('data: {"error": "text"}', ("Unavailable", "text")),
        (
            'data: {"choices": null, "error_type": "BadRequestError", "error_message": "bad"}',
            ("BadRequest", "bad"),
        ),
        (f"data: [{FAULT}]", ("RateLimited", "slow")),
    ],
)
def test_an_error_in_a_stream_has_the_partial_text(
    upstream: Upstream, provider: OpenAIProvider, way: str, event: str, expected: tuple[str, str]
) -> None:
    upstream.kind = "text/event-stream"
    upstream.body = FIRST + event.encode() + b"\n\ndata: [DONE]\n\n"
    error = catch_error(provider, way)
    assert type(error) is getattr(ours, expected[0])
    assert expected[1] in error.message
    assert error.partial == "Half of"
