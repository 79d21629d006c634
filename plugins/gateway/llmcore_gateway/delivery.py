"""Send a stream. An error before the first event decides the status; a later error becomes the last event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from llmcore_gateway.error_answers import describe_error, make_event

__all__ = ["Delivery", "encode_headers"]

Send = Callable[[dict[str, Any]], Awaitable[None]]

_HEADERS: Final = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""Headers that prevent proxies from storing, changing and buffering the events."""


class Delivery:
    """The delivery of one stream to a client."""

    def __init__(
        self, send: Send, headers: Mapping[str, str], content_type: str, *, keepalive_s: float
    ) -> None:
        self._send = send
        self._headers = {**headers, **_HEADERS, "content-type": content_type}
        self._is_events = content_type.startswith("text/event-stream")
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._is_writing = False
        self.is_begun = False
        """True if the head was sent. After that, an error can be reported only inside of the stream."""
        self.has_left = False
        """True if the client has disconnected. After that, the gateway reads and drops the remaining stream."""
        self.error: Exception | None = None
        """The error that became the last event."""

    async def run(self, pieces: AsyncGenerator[bytes, None], api: str, request_id: str) -> None:
        """Send *pieces* to their end.

        Raises:
            Exception: Reading *pieces* failed before anything was sent, or in a stream of audio, which cannot report an
                error to the client.
        """
        count = 0
        if self._is_events:
            self._arm()
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    count += 1
                    if not self.has_left:
                        await self._write(piece)
        except Exception as error:
            if not self.is_begun or not self._is_events:
                raise
            self.error = error
            await self._write(make_event(describe_error(error), api, request_id, count))
        finally:
            self._stop_comments()
        if not self.has_left:
            if not self.is_begun:
                await self._begin()
            await self._send({"type": "http.response.body", "body": b""})

    async def _write(self, piece: bytes) -> None:
        if self._comment is not None:
            await asyncio.wait({self._comment})
            self._comment = None
        self._is_writing = True
        if not self.is_begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self._is_writing = False
        self._sent_at = self._loop.time()

    async def _begin(self) -> None:
        self.is_begun = True
        await self._send(
            {"type": "http.response.start", "status": 200, "headers": encode_headers(self._headers)}
        )

    # -- comments

    def _arm(self) -> None:
        self._timer = self._loop.call_at(self._sent_at + self._keepalive_s, self._on_silence)

    def _stop_comments(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _on_silence(self) -> None:
        """Send a comment after a long silence, between two events.

        The next event waits until the comment is written. A client that does not read gets no comment, because its
        previous event or comment is still being written.
        """
        is_silent = self._loop.time() - self._sent_at >= self._keepalive_s
        if is_silent:
            self._sent_at = self._loop.time()
            if not self.has_left and not self._is_writing and self._comment is None:
                self._comment = asyncio.ensure_future(self._write_comment())
        self._arm()

    async def _write_comment(self) -> None:
        try:
            if not self.is_begun:
                await self._begin()
            await self._send({"type": "http.response.body", "body": b": keepalive\n\n", "more_body": True})
        except OSError:  # the client has disconnected, which the watcher reports
            pass
        finally:
            self._comment = None


def encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return *headers* in the form that ASGI requires."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
