"""HTTP/1.1 without I/O: parse requests and format answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

__all__ = [
    "Answer",
    "FramedAnswer",
    "RecordedRequest",
    "RequestParser",
    "Unreadable",
    "encode",
    "frame_answer",
    "frame_chunk",
]

_MOST_HEAD_BYTES: Final = 64 * 1024
_MOST_BODY_BYTES: Final = 256 * 1024 * 1024
_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Unreadable(Exception):
    """The received bytes are not a valid request. The server answers with *status* and closes the connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.request = RecordedRequest(
            method="", path="", query={}, headers={}, body=None, raw=b"", keep_alive=False
        )
        """A placeholder for the request that cannot be read. Its `keep_alive` is False, so the connection is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as received."""

    method: str
    path: str
    """Percent-decoded, without the query."""
    query: Mapping[str, str] = field(repr=False)
    """The last value of each name. `query_pairs` has all values."""
    headers: Mapping[str, str] = field(repr=False)
    """Lower-case names. The repr omits headers because they contain the API key."""
    body: Any = field(repr=False)
    """The decoded JSON; None if the body is empty or not JSON."""
    raw: bytes = field(repr=False)
    """The body, byte for byte."""
    keep_alive: bool = field(default=True, repr=False)
    query_pairs: Sequence[tuple[str, str]] = field(default=(), repr=False)
    chunked_answers: bool = field(default=True, repr=False)
    """False for an HTTP/1.0 client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of an endpoint. `frame_answer` formats it as HTTP."""

    status: int = 200
    pieces: Iterable[bytes] = (b"",)
    """The body. A stream sends each piece in a separate write."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    streamed: bool = False
    length: int | None = None
    """The size in bytes of a body whose pieces are made while they are sent. None means the sum of the pieces' sizes."""
    cut_before: int | None = None
    """The index of the first stream event that contains the reason why the answer ends. Faults cut a stream before this
    event."""
    counted: str | None = None
    """The count of the script to increase when the answer was complete, such as "chat" or "streams"; None for no count."""
    error_event: Callable[[str, str | None], bytes] | None = None
    """Makes the error event of a stream from a message and a code. None means OpenAI's event."""


def encode(value: Any) -> bytes:
    """Return *value* as compact JSON in UTF-8. Lone surrogates are escaped."""
    try:
        return _ENCODE(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


@dataclass(frozen=True, slots=True)
class FramedAnswer:
    """An answer formatted as HTTP."""

    head: bytes
    frames: Iterable[bytes]
    tail: bytes
    keep_alive: bool


def frame_answer(answer: Answer, request: RecordedRequest) -> FramedAnswer:
    """Format *answer* in the HTTP version of *request*."""
    if not answer.streamed:
        length = sum(map(len, answer.pieces)) if answer.length is None else answer.length
        head = _make_head(answer, f"content-length: {length}\r\n", keep_alive=request.keep_alive)
        return FramedAnswer(head, answer.pieces, b"", request.keep_alive)
    if request.chunked_answers:
        head = _make_head(answer, "transfer-encoding: chunked\r\n", keep_alive=request.keep_alive)
        return FramedAnswer(head, map(frame_chunk, answer.pieces), b"0\r\n\r\n", request.keep_alive)
    return FramedAnswer(_make_head(answer, "", keep_alive=False), answer.pieces, b"", keep_alive=False)


def frame_chunk(data: bytes) -> bytes:
    """Encode *data* as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _make_head(answer: Answer, size: str, *, keep_alive: bool) -> bytes:
    line = _STATUS_LINES.get(answer.status) or f"HTTP/1.1 {answer.status} Simulated\r\n"
    kind = f"content-type: {answer.content_type}\r\n" if answer.content_type else ""
    own = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
    last = "" if keep_alive else "connection: close\r\n"
    return f"{line}{kind}{size}{own}{last}\r\n".encode("latin-1", "replace")


class RequestParser:
    """Incremental HTTP request parser."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: tuple[str, str, bool, dict[str, str]] | None = None
        self._length: int | None = 0
        self._chunks = bytearray()
        self.expects_continue = False
        """True if the client waits for `100 Continue`. The connection sets it to False after sending that line."""

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._buffer += data

    def take(self) -> RecordedRequest | None:
        """Return the next complete request; None if more bytes are needed.

        Raises:
            Unreadable: The bytes are not an HTTP/1 request, or the request is too large.
        """
        if self._head is None and not self._read_head():
            return None
        raw = self._read_chunks() if self._length is None else self._read_sized(self._length)
        if raw is None or self._head is None:
            return None
        (method, target, modern, headers), self._head = self._head, None
        path, _, query = target.partition("?")
        tokens = headers.get("connection", "").lower()
        pairs = parse_qsl(query, keep_blank_values=True) if query else []
        return RecordedRequest(
            method=method,
            path=unquote(path) if "%" in path else path,
            query=dict(pairs),
            query_pairs=pairs,
            headers=headers,
            body=_decode(raw),
            raw=raw,
            keep_alive="close" not in tokens if modern else "keep-alive" in tokens,
            chunked_answers=modern,
        )

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if max(end, 0) > _MOST_HEAD_BYTES or (end < 0 and len(self._buffer) > _MOST_HEAD_BYTES):
            raise Unreadable(431, "The head of the request is larger than 64 KiB.")
        if end < 0:
            return False
        lines = self._buffer[:end].decode("latin-1").lstrip("\r\n").split("\r\n")
        del self._buffer[: end + 4]
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Unreadable(400, f"Expected a request line of HTTP/1.1, got {lines[0][:80]!r}.")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise Unreadable(400, f"Expected a header, got {line[:80]!r}.")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._head = (words[0], words[1], words[2] != "HTTP/1.0", headers)
        self._length = _read_length(headers)
        self.expects_continue = headers.get("expect", "").lower() == "100-continue"
        return True

    def _read_sized(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        raw = bytes(self._buffer[:length])
        del self._buffer[:length]
        return raw

    def _read_chunks(self) -> bytes | None:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return None
            try:
                size = int(self._buffer[:end].partition(b";")[0], 16)
            except ValueError:
                raise Unreadable(400, "Expected the size of a chunk in hexadecimal digits.") from None
            if size < 0 or size + len(self._chunks) > _MOST_BODY_BYTES:
                raise Unreadable(413, "The body is larger than 256 MiB.")
            stop = end + 2 + size + 2
            if len(self._buffer) < stop:
                return None
            self._chunks += self._buffer[end + 2 : stop - 2]
            del self._buffer[:stop]
            if size == 0:
                raw, self._chunks = bytes(self._chunks), bytearray()
                return raw


def _read_length(headers: Mapping[str, str]) -> int | None:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return None
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise Unreadable(400, f"Expected content-length to be a number, got {text[:80]!r}.")
    if int(text) > _MOST_BODY_BYTES:
        raise Unreadable(413, "The body is larger than 256 MiB.")
    return int(text)


def _decode(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
