"""Parse one HTTP/1.1 response from bytes, for both direct clients. This module does no I/O."""

from __future__ import annotations

from typing import Final

import httptools
import httpx2

__all__ = ["ResponseParser"]

_MAX_HEAD_BYTES: Final = (100 + 64) * 1024
"""The maximum size of a response head. httpcore accepts the same size: it checks its limit of 100 KB only after
each read of 64 KB.
"""
_SUCCESS: Final = 200
"""The lowest final status.

A response with a lower status, except 101 (Switching Protocols), only announces the final response.
"""
_SWITCHING: Final = 101
_NO_HEADERS: Final = httpx2.Headers()


class ResponseParser:
    """A response and the part of its body that has arrived. httptools calls the methods `on_*`."""

    def __init__(self) -> None:
        self.status_code = 0
        self.headers = _NO_HEADERS
        self.failure: httpx2.TransportError | None = None
        """The error that ended the response. The caller first takes all bytes that arrived earlier, then raises the error."""
        self.has_head = False
        self.is_complete = False
        self.is_reusable = False
        """True if the connection can carry another request."""
        self._head: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._pieces: list[bytes] = []
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # Parse as leniently as aiohttp parses responses.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def feed(self, data: bytes) -> None:
        """Parse *data*."""
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.is_complete, self.is_reusable = True, False
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError as error:
            where = "" if self._parser.get_status_code() else "illegal status line: "
            self.fail(httpx2.RemoteProtocolError(f"{where}{error}"))
        if not self.has_head:
            self._head_bytes += len(data)
            self._check_head(self._head_bytes)

    def end(self) -> None:
        """Handle the end of the connection, which ends a body without a length."""
        if self.is_complete:
            return
        if not self.has_head:
            self.fail(httpx2.RemoteProtocolError("Server disconnected without sending a response."))
        elif "content-length" in self.headers or "transfer-encoding" in self.headers:
            self.fail(
                httpx2.RemoteProtocolError("peer closed connection without sending complete message body")
            )
        else:
            self.is_complete = True

    def fail(self, failure: httpx2.TransportError) -> None:
        """End the response with *failure*, unless the response has already ended."""
        self.is_reusable = False
        if not self.is_complete and self.failure is None:
            self.failure = failure

    def take(self) -> bytes:
        """Return the part of the body that has arrived since the last call."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return data

    def has_news(self) -> bool:
        """Return whether bytes can be taken or the response has ended."""
        return bool(self._pieces) or self.is_complete or self.failure is not None

    def close(self) -> None:
        """Break the reference cycle with httptools."""
        self._parser = None

    def _check_head(self, size: int) -> None:
        if size > _MAX_HEAD_BYTES:
            self.fail(httpx2.RemoteProtocolError(f"too many headers: more than {_MAX_HEAD_BYTES} bytes"))

    # -- called by httptools

    def on_message_begin(self) -> None:
        """Mark the connection as not reusable if the response is already complete, because unexpected bytes follow it."""
        if self.is_complete:
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header. A trailer, which follows the body, is ignored."""
        if not self.has_head:
            self._head.append((name, value))

    def on_headers_complete(self) -> None:
        """Store the status. An informational response is skipped."""
        if self.has_head or self._parser is None:
            return
        status = self._parser.get_status_code()
        if status >= _SUCCESS or status == _SWITCHING:
            self._check_head(sum(len(name) + len(value) for name, value in self._head))
            if self.failure is None:
                self.status_code, self.headers, self.has_head = status, httpx2.Headers(self._head), True
        else:
            self._head.clear()

    def on_body(self, data: bytes) -> None:
        """Store a part of the body."""
        if not self.is_complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Record the end of the response."""
        if self.has_head and not self.is_complete and self._parser is not None:
            self.is_complete, self.is_reusable = True, self._parser.should_keep_alive()
