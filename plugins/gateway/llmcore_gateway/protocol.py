"""uvicorn's HTTP protocol, with a limit on the size of a request's head and with timeouts for slow clients.

HTTP/1.0 clients are supported. Offers to upgrade to HTTP/2 are ignored.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["make_protocol"]

_MAX_HEAD: Final = 65_536
"""The maximum size of a request's head in bytes."""
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 39\r\nconnection: close\r\n\r\n"
    b"The head of the request is too large.\r\n"
)
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)


def make_protocol(*, header_timeout_s: float, body_timeout_s: float) -> type[HttpToolsProtocol]:
    """Return a class of connections with these timeouts."""

    class Protocol(_Protocol):
        pass

    Protocol.header_timeout_s = header_timeout_s
    Protocol.body_timeout_s = body_timeout_s
    return Protocol


class _Protocol(HttpToolsProtocol):
    """Closes a connection whose client is too slow to send the request head, or the rest of a rejected body."""

    header_timeout_s = 15.0
    body_timeout_s = 60.0
    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _head_size = 0
    _has_read_head = False
    _is_between_messages = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_body_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and not self._is_between_messages:
            super().data_received(data)
            return
        if b"pgrade:" in data or b"PGRADE:" in data:
            data = _drop_upgrade(data)
        self._has_read_head = False
        super().data_received(data)
        if self._head_timer is None or self._has_read_head:
            self._head_size = 0
            return
        self._head_size += len(data)
        if self._head_size > _MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_between_messages = False
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        self._has_read_head = True
        super().on_headers_complete()
        if self.scope.get("http_version") == "1.0":
            _OldCycle.convert(self.cycle)
        if self.scope["method"] != "HEAD":  # an answer to HEAD has no body to join
            self.cycle.transport = _HeadJoiner(self.transport)  # type: ignore[assignment]  # has the methods that a cycle calls

    def on_message_complete(self) -> None:
        self._is_between_messages = True
        self._stop_body_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_between_messages and not self.transport.is_closing():
            # The request was refused before its body had arrived. The rest of the body is read and dropped for a
            # limited time.
            self._body_timer = self.loop.call_later(self.body_timeout_s, self.transport.close)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None


class _HeadJoiner:
    """Writes the head of an answer together with the beginning of its body, in one system call instead of two."""

    __slots__ = ("_has_head", "_head", "_transport", "close", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._has_head = False
        self.is_closing = transport.is_closing
        self.close = transport.close

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif not self._has_head and data[9:12] != b"100":
            self._head, self._has_head = data, True
            return
        if not self._transport.is_closing():  # asyncio would log each write to a client that has disconnected
            self._transport.write(data)


class _OldCycle(RequestResponseCycle):
    """An answer to a client of HTTP/1.0.

    Such clients do not support chunked bodies, so closing the connection ends a stream.
    """

    @classmethod
    def convert(cls, cycle: RequestResponseCycle) -> None:
        cycle.__class__ = cls
        cycle.chunked_encoding = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def _drop_upgrade(data: bytes) -> bytes:
    """Return *data* without offers to change the protocol.

    The server may ignore such offers (RFC 9110, 7.8). Java's client offers `h2c` with every request, and the parser
    would drop the body of a request with such an offer.
    """
    head, separator, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + separator + rest
