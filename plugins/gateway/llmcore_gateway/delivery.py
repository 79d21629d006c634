"""Send a stream: its first event decides the status, comments keep it open, and an error in it becomes its last event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from llmcore.errors import LLMCoreError
from llmcore_gateway.faults import describe, make_event

__all__ = ["Delivery"]

Send = Callable[[dict[str, Any]], Awaitable[None]]

_HEADERS: Final = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""Keep proxies from storing, changing and gathering the events."""


class Delivery:
    """One stream on its way to a client."""

    def __init__(
        self, send: Send, headers: Mapping[str, str], content_type: str, *, keepalive_s: float
    ) -> None:
        self._send = send
        self._headers = {**headers, **_HEADERS, "content-type": content_type}
        self._is_events = content_type.startswith("text/event-stream")
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._comment: asyncio.Task[None] | None = None
        self.is_begun = False
        """Whether the head is sent, so that an error can only be told inside of the stream."""
        self.has_left = False
        """Whether the client has left; then the rest is read and dropped."""

    async def run(self, pieces: AsyncGenerator[bytes, None], api: str, request_id: str) -> None:
        """Send *pieces* to their end.

        Raises:
            Exception: That of the first piece, if nothing was sent before it.
        """
        timer = self._arm() if self._is_events else None
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if not self.has_left:
                        await self._write(piece)
        except LLMCoreError as error:
            if not self.is_begun or not self._is_events:
                raise
            await self._write(make_event(describe(error), api, request_id))
        finally:
            if timer is not None:
                timer.cancel()
            if self._timer is not None:
                self._timer.cancel()
        if not self.has_left:
            await self._begin()
            await self._send({"type": "http.response.body", "body": b""})

    async def _write(self, piece: bytes) -> None:
        await self._begin()
        self._sent_at = self._loop.time()
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _begin(self) -> None:
        if self.is_begun:
            return
        self.is_begun = True
        await self._send(
            {"type": "http.response.start", "status": 200, "headers": encode_headers(self._headers)}
        )

    # -- comments

    _timer: asyncio.TimerHandle | None = None

    def _arm(self) -> asyncio.TimerHandle:
        due = self._sent_at + self._keepalive_s
        self._timer = self._loop.call_at(due, self._on_silence)
        return self._timer

    def _on_silence(self) -> None:
        """Send a comment if nothing was sent for long enough. Pieces are whole events, so it stands between two of them."""
        if self._loop.time() - self._sent_at >= self._keepalive_s and not self.has_left:
            self._comment = asyncio.ensure_future(self._write(b": keepalive\n\n"))
            self._sent_at = self._loop.time()
        self._arm()


def encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return *headers* as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
