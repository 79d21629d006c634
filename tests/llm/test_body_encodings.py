"""Bodies in Latin-1 become an error or the right text, whatever charset their header names."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest, LLMCoreError, MalformedReply, RateLimited

TEXT = "caf\u00e9"
CHAT = {
    "id": "x", "object": "chat.completion", "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
}  # fmt: skip
CHUNK = {
    "id": "x",
    "object": "chat.completion.chunk",
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": TEXT}}],
}
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
MODELS = [{"model_id": "a", "name": TEXT, "can_do_text_to_speech": True, "languages": []}]
EVENT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}
FAILED = {"error": {"type": "invalid", "message": TEXT}, "detail": {"status": "invalid", "message": TEXT}}


class Upstream(ThreadingHTTPServer):
    """Answers each request with *body* in Latin-1."""

    status, body, charset = 200, "", "us-ascii"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = self.server.body.encode("latin-1")
        kind = "text/event-stream" if self.server.body.startswith("data:") else "application/json"
        self.send_response(self.server.status)
        self.send_header("content-type", f"{kind}; charset={self.server.charset}")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def chat(core: llmcore.Core) -> object:
    return core.llm.chat("Hello", timeout=60)


def achat(core: llmcore.Core) -> object:
    return asyncio.run(core.llm.achat("Hello", timeout=60))


def stream(core: llmcore.Core) -> object:
    return list(core.llm.stream("Hello", timeout=60))


def models(core: llmcore.Core) -> object:
    return core.voice.models()


def amodels(core: llmcore.Core) -> object:
    return asyncio.run(core.voice.amodels())


def speak(core: llmcore.Core) -> object:
    return core.voice.synthesize("Hello", timeout=60)


def load(server: Upstream, provider: str) -> llmcore.Core:
    url = f"http://127.0.0.1:{server.server_port}"
    account = {"api_key": "test", "base_url": url if provider in {"anthropic", "elevenlabs"} else f"{url}/v1"}
    if provider == "any_llm":
        account["api_base"] = account.pop("base_url")
    chosen = {"provider": provider, provider: account}
    names = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5", "any_llm": "openai:gpt-4o-mini"}
    kind = "llm" if provider in names else "voice"
    if kind == "llm":
        chosen["model"] = names[provider]
    return llmcore.load({kind: chosen, "retry": {"attempts": 1}})


CALLS: list[tuple[str, Callable[[llmcore.Core], object], Any]] = [
    ("openai", chat, CHAT), ("openai", achat, CHAT), ("openai", stream, CHUNK),
    ("anthropic", chat, MESSAGE), ("anthropic", achat, MESSAGE), ("anthropic", stream, EVENT),
    ("any_llm", chat, CHAT), ("any_llm", achat, CHAT),
    ("elevenlabs", models, MODELS), ("elevenlabs", amodels, MODELS),
]  # fmt: skip


@pytest.mark.parametrize("charset", ["us-ascii", "utf-8"])
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_is_not_utf8_is_malformed(
    call: tuple[str, Callable[[llmcore.Core], object], Any], charset: str, upstream: Upstream
) -> None:
    provider, ask, document = call
    upstream.charset = charset
    upstream.body = json.dumps(document, ensure_ascii=False)
    if ask is stream:
        upstream.body = f"data: {upstream.body}\n\n"
    with load(upstream, provider) as core, pytest.raises(MalformedReply, match=r"(?i)utf-8"):
        ask(core)


@pytest.mark.parametrize(("status", "kind"), [(400, BadRequest), (429, RateLimited)])
@pytest.mark.parametrize("call", [*CALLS, ("elevenlabs", speak, None)])
def test_a_refusal_that_is_not_utf8_keeps_its_status_and_its_text(
    call: tuple[str, Callable[[llmcore.Core], object], Any],
    status: int,
    kind: type[LLMCoreError],
    upstream: Upstream,
) -> None:
    provider, ask, _ = call
    upstream.status, upstream.body = status, json.dumps(FAILED, ensure_ascii=False)
    with load(upstream, provider) as core, pytest.raises(kind) as caught:
        ask(core)
    assert "caf\ufffd" in str(caught.value)
