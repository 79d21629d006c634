"""Wire events: streams in a vendor's format.

The events come from the backend, or are written from our deltas and replies.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from llmcore.calls.pieces import convert_pieces
from llmcore.llm.assembly import split_reply
from llmcore.llm.chat_events import ChatWriter, replay_chat
from llmcore.llm.documents import recognise
from llmcore.llm.messages_events import MessagesWriter, replay_message
from llmcore.llm.responses_events import replay_response
from llmcore.llm.responses_writer import ResponsesWriter
from llmcore.types import Delta, Reply, WireEvent

__all__ = ["replay_events", "write_events"]


class _Writer(Protocol):
    """Writes deltas as the events of one API."""

    def write(self, delta: Delta) -> Iterator[WireEvent]:
        """Yield the events of *delta*."""
        ...

    def end(self) -> Iterator[WireEvent]:
        """Yield the events that follow the last delta."""
        ...


_WRITERS: Final[Mapping[str, Callable[[], _Writer]]] = {
    "chat": ChatWriter,
    "responses": ResponsesWriter,
    "messages": MessagesWriter,
}
_OF_MESSAGES: Final = (
    "message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta", "content_block_stop", "ping",
)  # fmt: skip


class _Head(msgspec.Struct):
    """The field of an event that identifies its API."""

    type: Any = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode


class _EventWriter:
    """Turns the deltas of one stream into events of *api*."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._writer = _WRITERS[api]()
        self._passes: bool | None = None
        """True if the backend's events have the format of *api*; None before the first event."""

    def convert(self, piece: Delta | WireEvent) -> Iterator[WireEvent]:
        """Yield the events of *piece*: the backend's own event if it has the format of *api*, otherwise new events."""
        if isinstance(piece, WireEvent):  # a replayed answer consists of events already
            yield piece
            return
        if self._passes is None and piece.raw:
            self._passes = _recognise_event(piece.raw) == self._api
        if piece.raw is None or not self._passes:
            if piece.has_content or piece.raw is None:
                yield from self._writer.write(piece)
        elif piece.raw:  # an empty `raw` means that the delta belongs to the preceding event
            yield WireEvent(data=piece.raw, name=piece.event_name, delta=piece if piece.has_content else None)

    def end(self) -> Iterator[WireEvent]:
        """Yield the events that follow the last piece."""
        return self._writer.end()


def write_events(call: Generator[Any, Any, Any], api: str) -> Generator[Any, Any, None]:
    """Run *call* and emit its pieces as events of *api*."""
    writer = _EventWriter(api)
    yield from convert_pieces(call, writer.convert)
    yield from writer.end()


def replay_events(reply: Reply, api: str) -> Iterator[WireEvent]:
    """Yield a complete answer as the events of a stream of *api*."""
    if api == "chat":
        return replay_chat(reply)
    if recognise(reply.body) == api:
        return replay_response(reply) if api == "responses" else replay_message(reply)
    return _write_reply(reply, api)


def _write_reply(reply: Reply, api: str) -> Iterator[WireEvent]:
    writer = _WRITERS[api]()
    for delta in split_reply(reply):
        yield from writer.write(delta)
    yield from writer.end()


def _recognise_event(data: bytes) -> str:
    """Return the API of a backend's event. Events of Chat Completions have no type."""
    try:
        kind = _decode_head(data).type
    except ValueError:  # the data may not be JSON, such as `[DONE]`; msgspec's errors are ValueErrors
        return "chat"
    if kind in _OF_MESSAGES:
        return "messages"
    return "responses" if isinstance(kind, str) and kind.startswith("response.") else "chat"
