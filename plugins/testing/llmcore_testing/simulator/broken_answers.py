"""The faults that replace a whole answer: an error status, invalid JSON, a redirect and others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from llmcore_testing.simulator.chunks import DONE
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.openai_common import FINGERPRINT, make_id
from llmcore_testing.simulator.routing import Route
from llmcore_testing.simulator.wire import Answer, RecordedRequest, encode

__all__ = ["make_broken_answer"]

_PAGE: Final = (
    b"<!doctype html>\n<html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>\n"
)
_BLOCK: Final = 64 * 1024


def make_broken_answer(fault: Fault, request: RecordedRequest, route: Route) -> Answer | None:
    """Return the answer for *fault*; None if *fault* does not replace the endpoint's answer."""
    make = _BROKEN.get(fault.kind)
    return make(fault, request, route) if make else None


def _make_status(fault: Fault, _request: RecordedRequest, route: Route) -> Answer:
    settings = fault.settings
    headers = {"x-request-id": make_id("req_"), **settings["headers"]}
    if settings["body"] is None:
        refuse: Callable[..., Answer] = route.group.refuse
        return refuse(settings["status"], settings["message"], code=settings["code"], headers=headers)
    body = settings["body"]
    raw = body.encode() if isinstance(body, str) else encode(body)
    return Answer(status=settings["status"], pieces=(raw,), headers=headers)


def _make_bad_json(_fault: Fault, _request: RecordedRequest, _route: Route) -> Answer:
    return Answer(pieces=(b'{"id": "chatcmpl-broken", "object": "chat.completion", "choices": [{"index',))


def _make_html(fault: Fault, _request: RecordedRequest, _route: Route) -> Answer:
    return Answer(status=fault.settings["status"], pieces=(_PAGE,), content_type="text/html; charset=utf-8")


def _make_empty(fault: Fault, _request: RecordedRequest, _route: Route) -> Answer:
    return Answer(status=fault.settings["status"], content_type="")


def _make_redirect(fault: Fault, _request: RecordedRequest, _route: Route) -> Answer:
    return Answer(status=fault.settings["status"], headers={"location": fault.settings["url"]})


def _make_big_answer(fault: Fault, request: RecordedRequest, route: Route) -> Answer:
    body: dict[str, Any] = request.body if isinstance(request.body, dict) else {}
    size = int(fault.settings["megabytes"] * 1_000_000)
    make = route.make_big or route.group.make_big
    if make is not None:
        return make(body, size)
    streams = bool(body.get("stream"))
    inner = "delta" if streams else "message"
    completion = {
        "id": make_id("chatcmpl-"),
        "object": "chat.completion.chunk" if streams else "chat.completion",
        "created": 0,
        "model": str(body.get("model", "gpt-4o-mini")),
        "system_fingerprint": FINGERPRINT,
        "choices": [{"index": 0, inner: {"role": "assistant", "content": "@"}, "finish_reason": "stop"}],
    }
    front, _, back = encode(completion).partition(b"@")
    if not streams:
        length = len(front) + size + len(back)
        return Answer(pieces=_iterate_blocks(front, size, back), length=length, counted="chat")
    return Answer(
        pieces=_iterate_big_events(b"data: " + front, size, back + b"\n\n"),
        content_type="text/event-stream; charset=utf-8",
        streamed=True,
        counted="streams",
    )


def _iterate_blocks(front: bytes, size: int, back: bytes) -> Iterator[bytes]:
    yield front
    block = b"x" * _BLOCK
    for start in range(0, size, _BLOCK):
        yield block[: size - start]
    yield back


def _iterate_big_events(front: bytes, size: int, back: bytes) -> Iterator[bytes]:
    unfinished = back.replace(b'"stop"', b"null")
    block = b"x" * _BLOCK
    for start in range(0, size, _BLOCK):
        yield front + block[: size - start] + unfinished
    yield front + back
    yield DONE


_BROKEN: Final[dict[str, Callable[[Fault, RecordedRequest, Route], Answer]]] = {
    "bad_json": _make_bad_json,
    "big_body": _make_big_answer,
    "empty_body": _make_empty,
    "html": _make_html,
    "redirect": _make_redirect,
    "status": _make_status,
}
