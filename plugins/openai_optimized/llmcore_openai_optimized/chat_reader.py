"""Parse answers of Chat Completions, documents or server-sent events, to deltas and a reply. This module does no I/O.

One reader handles complete answers and streams. Some servers send a stream instead of an answer, or the reverse, with
a wrong content type. So the reader looks at the first byte of the body, and not at the content type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.support.http import EventParser
from llmcore.types import ChatRequest, Delta, Reply
from llmcore_openai_optimized.answer_errors import find_error
from llmcore_openai_optimized.assembly import Assembly
from llmcore_openai_optimized.choice import UnknownShape
from llmcore_openai_optimized.chunk import Chunk, decode_chunk, decode_odd_chunk
from llmcore_openai_optimized.errors import AnswerError, Errors
from llmcore_openai_optimized.truncated_json import read_partial

__all__ = ["HEARTBEATS", "LARGEST_BODY", "ChatReader"]

LARGEST_BODY: Final = 32_000_000
"""Maximum bytes of an answer."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_NOTHING: Final = frozenset({b"", b"null", b'""'})
HEARTBEATS: Final = frozenset({b"ping", b"heartbeat", b"keep-alive", b"keepalive"})
"""Names of keep-alive events."""
_SHOWN: Final = 160
"""Maximum characters of an unreadable answer in an error."""

_encode = msgspec.json.Encoder().encode


class ChatReader:
    """Reads one answer, complete or streamed."""

    def __init__(
        self, request: ChatRequest, headers: Mapping[str, str], errors: Errors, status: int = 200
    ) -> None:
        self._request = request
        self._headers = headers
        self._errors = errors
        self._refused = None if 200 <= status < 300 else status  # noqa: PLR2004 - every status 2xx is a success
        self._size = 0
        self._begun: bytes | None = b""
        self._shown = b""
        self._body: list[bytes] = []
        self._document: bytes | None = None
        self._events: EventParser | None = None
        self._has_ended = False
        """True if the end of the answer has arrived: `[DONE]`, or the end of a body if HTTP marks it."""
        self._answer = Assembly(request, headers)
        self._held: list[Delta] = []
        """The deltas since the last choice ended, which are not returned yet."""

    @property
    def is_done(self) -> bool:
        """True if the last delta was returned; later bytes are ignored."""
        return self._answer.end is not None

    @property
    def text(self) -> str | None:
        """The text received so far.

        If no text has arrived, this is "" for a stream or a parsed answer, and None for a body that is not parsed.
        """
        if not self._answer.has_begun and self._body:
            return read_partial(self._join_body())
        return self._answer.text if self._events is not None or self._answer.has_begun else None

    def feed(self, data: bytes) -> list[Delta]:
        """Add the next bytes, which may end anywhere; return the complete deltas.

        Raises:
            AnswerError: The answer is unreadable, or reports an error.
        """
        self._size += len(data)
        if self._size > LARGEST_BODY:
            what = f"more than {LARGEST_BODY:,} bytes"
            raise AnswerError(self._errors.make_malformed(what, self._headers, partial=self.text))
        if self._begun is not None:
            self._shown = self._shown or data[: 8 * _SHOWN]
            data = self._detect_format(data)
        if self._events is None:
            if data:
                self._body.append(data)
            return []
        deltas: list[Delta] = []
        self._read_events(self._events.feed(data), deltas)
        return deltas

    def end(self) -> list[Delta]:
        """Mark the end of the body; return the remaining deltas.

        Raises:
            AnswerError: The answer is not complete.
        """
        deltas: list[Delta] = []
        self._has_ended = "transfer-encoding" in self._headers or "content-length" in self._headers
        if self._refused is not None:
            body = (self._begun or b"") + self._join_body()
            error = self._errors.from_status(self._refused, self._headers, body, self._request.model)
            raise AnswerError(error)
        if self._body:
            self._read_document(deltas)
        elif self._events is not None:
            self._read_events(self._events.end(), deltas)
        if not self.is_done:
            self._finish(deltas)
        return deltas

    def make_reply(self) -> Reply:
        """Return the complete reply; call `end` first."""
        return self._answer.make_reply()

    # -- the format of the body

    def _detect_format(self, data: bytes) -> bytes:
        """Return the body without byte order mark and leading white space; decide whether it is a stream."""
        if not self._begun and data[:1] == b"{":
            self._begun = None
            return data
        begun = (self._begun or b"") + data
        self._begun = begun
        if (
            self._refused is None
            and _BYTE_ORDER_MARK.startswith(begun[:3])
            and len(begun) < len(_BYTE_ORDER_MARK)
        ):
            return b""
        begun = begun.removeprefix(_BYTE_ORDER_MARK).lstrip()
        if not begun:
            return b""
        self._begun = None
        if self._refused is None and begun[:1] not in b"{[<":
            self._events = EventParser()
        return begun

    def _join_body(self) -> bytes:
        if len(self._body) > 1:
            self._body = [b"".join(self._body)]
        return self._body[0] if self._body else b""

    def _read_document(self, deltas: list[Delta]) -> None:
        """Read a body that is one JSON document, or lines of JSON with or without `data:`."""
        body = self._join_body()
        try:
            chunk, self._document = self._decode_leniently(body)
        except ValueError as error:
            self._document, parser = None, EventParser()
            events = [*parser.feed(body), *parser.end()] if body[:1] == b"{" else []
            if len(events) < 2 or not _is_json(events[0][1]):  # noqa: PLR2004 - a single event is the unreadable document itself
                what = f"something that is not a chat completion ({error})"
                raise AnswerError(self._make_malformed(what, body, partial=read_partial(body))) from None
            self._body, self._events = [], parser
            self._read_events(events, deltas)
            return
        self._add(chunk, b"", body, deltas, complete=True)
        if not self._answer.has_choices:
            raise AnswerError(self._make_malformed("a completion without a choice", body))
        self._finish(deltas)

    # -- the events of a stream

    def _read_events(self, events: list[tuple[bytes, bytes]], deltas: list[Delta]) -> None:
        answer = self._answer
        for event, payload in events:
            if answer.end is not None:
                return  # ignore events after the end
            chunk: Chunk | None = None
            try:
                chunk = decode_chunk(payload)
            except (ValueError, RecursionError):
                pass
            else:
                plain = None if event or self._held else answer.add_plain(chunk, payload)
                if plain is not None:
                    deltas.append(plain)
                    continue
            new: list[Delta] = []
            answer.begin_event(event, payload)
            if chunk is None:
                chunk = self._read_odd_event(event, payload, new)
            if chunk is not None:
                self._add(chunk, event, payload, new)
            answer.end_event(new)
            self._hold(new, deltas)

    def _hold(self, new: list[Delta], deltas: list[Delta]) -> None:
        """Append the deltas of an event to *deltas*. After the last choice has ended, keep them in `_held` instead."""
        is_whole = self._answer.is_whole
        if self._held and (not is_whole or any(delta.has_content for delta in new)):
            deltas += self._held  # the choice continued after its finish reason
            self._held = []
        if is_whole and not self.is_done:
            self._held += new
        else:
            deltas += new

    def _read_odd_event(self, event: bytes, payload: bytes, deltas: list[Delta]) -> Chunk | None:
        """Handle a payload that is not valid JSON; return its chunk, or None if it contains no chunk."""
        if payload == b"[DONE]":
            self._has_ended = True
            self._finish(deltas)
        elif payload not in _NOTHING and event not in HEARTBEATS:
            return self._decode_odd(event, payload)
        return None

    def _decode_odd(self, event: bytes, payload: bytes) -> Chunk:
        cause = ""
        try:
            return self._decode_leniently(payload)[0]
        except ValueError as error:
            cause = str(error)
        reported = find_error(None, event, payload)
        if reported is not None:
            raise AnswerError(self._make_reported(reported))
        raise AnswerError(
            self._make_malformed(f"a chunk that cannot be read ({cause})", payload, partial=self.text)
        )

    def _decode_leniently(self, payload: bytes) -> tuple[Chunk, bytes]:
        """Decode *payload* leniently; return the chunk and valid JSON.

        Raises:
            ValueError: *payload* is not JSON, or not an object.
        """
        try:
            return decode_chunk(payload), payload
        except (ValueError, RecursionError):
            pass
        chunk, repaired = decode_odd_chunk(payload)
        self._answer.repaired = True
        return chunk, repaired

    def _add(
        self, chunk: Chunk, event: bytes, payload: bytes, deltas: list[Delta], *, complete: bool = False
    ) -> None:
        reported = find_error(chunk, event, payload)
        if reported is not None:
            failure = self._make_reported(reported)
            # An error next to a choice means that the model had begun to answer, which may be billed. An error without a
            # choice is a refusal.
            failure.answered = complete and bool(chunk.choices)
            raise AnswerError(failure)
        try:
            self._answer.add(chunk, deltas, complete=complete)
        except UnknownShape as unknown:
            raise AnswerError(self._make_unknown_shape(unknown.field, unknown.value)) from None

    def _finish(self, deltas: list[Delta]) -> None:
        """Append the last deltas.

        Raises:
            AnswerError: The answer has no choice, or a choice has no finish reason.
        """
        answer = self._answer
        if not answer.has_begun:
            what = "something that is not a chat completion"
            raise AnswerError(self._make_malformed(what, self._shown, partial=""))
        if not answer.has_choices:
            raise AnswerError(self._make_malformed("a stream without a choice", self._shown, partial=""))
        if self._document is None and not answer.is_finished:
            what = "the stream ended without a finish_reason"
            failure = self._errors.make_incomplete(what, self._headers, self.text)
            failure.answered = self._has_ended
            raise AnswerError(failure)
        held, self._held = self._held, []
        answer.finish(held, deltas, self._document)

    # -- errors

    def _make_reported(self, document: Any) -> Any:
        return self._errors.from_document(
            document, self._headers, self._request.model, partial=self.text or ""
        )

    def _make_unknown_shape(self, field: str, value: Any) -> Any:
        try:
            shown = _encode(value)
        except (TypeError, ValueError):
            shown = repr(value).encode(errors="replace")
        return self._make_malformed(f"`{field}` of an unknown shape", shown, partial=self.text)

    def _make_malformed(self, what: str, came: bytes, *, partial: str | None = None) -> Any:
        """Return the error for an unreadable answer, with its beginning."""
        text = self._errors.scrub(came[: 8 * _SHOWN].decode(errors="replace"))
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        what = f"{what}: {shown}" if shown else "an empty body"
        return self._errors.make_malformed(what, self._headers, partial=partial)


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except ValueError:
        return False
    return True
