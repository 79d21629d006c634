"""Routes that a test adds to the simulator.

Faults and `Simulator.counts` work as for the built-in routes, but the only content fault is `wrong_schema`. API keys are
checked only if `api_keys` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from llmcore.errors import ConfigError
from llmcore_testing.simulator.routing import Call, Group, Route
from llmcore_testing.simulator.wire import Answer, RecordedRequest, encode

__all__ = ["Handler", "make_routes"]

Handler = Callable[[RecordedRequest], Any]
"""Makes the answer to a request. `Simulator` documents the values that a handler may return."""

_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_REWRITES: Final = frozenset({"wrong_schema"})
"""The content faults that these routes support. The other content faults change fields of a vendor's format, such as the
usage, or the outcome of a new batch. The answer of a test's handler may have neither."""
_LINES: Final = "application/x-ndjson"
_EVENTS: Final = "text/event-stream; charset=utf-8"


def make_routes(handlers: Mapping[str, Handler], *, checks_keys: bool) -> list[Route]:
    """Return a route for each name: "/path" matches every method, "METHOD /path" matches only METHOD.

    Raises:
        ConfigError: A name is neither "/path" nor "METHOD /path".
    """
    group = Group(
        name="own",
        key=_read_key if checks_keys else None,
        refuse=_refuse,
        repeats_keys=False,
        make_big=_make_big,
    )
    return [
        Route(method, path, _answer_with(handler), group, rewrites=_REWRITES, own=True)
        for (method, path), handler in ((_read_name(name), handler) for name, handler in handlers.items())
    ]


def _read_name(name: str) -> tuple[str, str]:
    method, _, path = name.rpartition(" ")
    if not path.startswith("/") or (method and method not in _METHODS):
        raise ConfigError(
            f'a route must be "/path" or "METHOD /path", got {name!r}',
            expected=f"a path that begins with a slash; a method of {', '.join(_METHODS)}",
            fix='Simulator(routes={"POST /api/chat": handler})',
        )
    return method or "*", path


def _answer_with(handler: Handler) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        if call.fault is not None:
            return Answer(pieces=(b'{"unexpected": true}',))
        return _make_answer(handler(call.request))

    return answer


def _make_answer(value: Any) -> Answer:
    status = 200
    if isinstance(value, tuple):
        status, value = value
    if isinstance(value, Answer):
        return value
    if isinstance(value, bytes):
        return Answer(status=status, pieces=(value,), content_type="application/octet-stream")
    if isinstance(value, str):
        return Answer(status=status, pieces=(value.encode(),), content_type="text/plain; charset=utf-8")
    if isinstance(value, Iterator):
        return _make_stream(status, value)
    return Answer(status=status, pieces=(encode(value),))


def _make_stream(status: int, pieces: Iterable[Any]) -> Answer:
    """Return a stream. A piece of type `bytes` is sent unchanged; any other piece is sent as one JSON line."""
    made = [piece if isinstance(piece, bytes) else encode(piece) + b"\n" for piece in pieces]
    has_events = any(piece.startswith((b"data:", b"event:")) for piece in made)
    return Answer(
        status=status,
        pieces=made,
        content_type=_EVENTS if has_events else _LINES,
        streamed=True,
        error_event=None if has_events else _make_error_line,
    )


def _make_error_line(message: str, code: str | None) -> bytes:
    return encode({"error": message} if code is None else {"error": message, "code": code}) + b"\n"


def _make_big(_: Mapping[str, object], size: int) -> Answer:
    return Answer(pieces=(b'{"text": "', b"x" * size, b'"}'))


def _refuse(
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    error = {"error": message or f"Simulated status {status}."} | ({"code": code} if code else {})
    return Answer(status=status, pieces=(encode(error),), headers=headers or {})


def _read_key(request: RecordedRequest) -> str | None:
    """Return the key of `Authorization: Bearer KEY`, `x-api-key` or `api-key`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key") or request.headers.get("api-key") or None
