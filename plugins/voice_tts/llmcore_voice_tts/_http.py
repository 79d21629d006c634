"""The vendor's client over HTTP clients of ours, which add the key and hold the deadline in the moment of sending."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

import httpx
from elevenlabs import AsyncElevenLabs, ElevenLabs  # noqa: TID253 - loaded only when a provider is created

from llmcore.errors import MalformedReply
from llmcore_voice_tts.account import Account

__all__ = ["AsyncWeb", "Patience", "SyncSdk", "asynchronous_sdk"]

_CONNECT_S: Final = 5.0
_DEFAULT_S: Final = 240.0
_MOST_BYTES: Final = 512_000_000
"""More than the longest text that a model takes comes to in its largest format."""


class Patience:
    """How long one request may take, as the transport asks it at each of its steps, and how far it has come."""

    __slots__ = ("_ends", "_silence_s", "begun")

    def __init__(self, timeout_s: float | None, idle_s: float | None) -> None:
        """Begin to wait: *timeout_s* for all of it, *idle_s* between two signs of life once the answer has begun."""
        self._ends = time.monotonic() + (_DEFAULT_S if timeout_s is None else timeout_s)
        self._silence_s = idle_s
        self.begun = False
        """Whether the head of the answer has come."""

    def get(self, step: str, default: float | None = None) -> float | None:  # noqa: ARG002 - a mapping's method
        """Return the seconds for *step*: connect, read, write or pool."""
        left = max(self._ends - time.monotonic(), 0.001)  # 0 would mean: do not block
        if step == "connect":
            return min(left, _CONNECT_S)
        if step == "read" and self.begun and self._silence_s is not None:
            return min(left, self._silence_s)
        return left

    def check(self) -> None:
        """Raise TimeoutError where the time is over."""
        if time.monotonic() >= self._ends:
            raise TimeoutError

    @contextmanager
    def governing(self) -> Iterator[None]:
        """Govern the requests that are sent within."""
        token = _PATIENCE.set(self)
        try:
            yield
        finally:
            _PATIENCE.reset(token)


_PATIENCE: ContextVar[Patience] = ContextVar("llmcore_voice_tts_patience")


class _Measured:
    """Counts the bytes of one body, and the time."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._size = 0

    def add(self, piece: bytes) -> bytes:
        self._patience.check()
        self._size += len(piece)
        if self._size > _MOST_BYTES:
            raise MalformedReply(f"more than {_MOST_BYTES:,} bytes came", provider="elevenlabs")
        return piece


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, patience: Patience) -> None:
        self._inner = inner
        self._measured = _Measured(patience)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._measured.add, self._inner)

    def close(self) -> None:
        self._inner.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, patience: Patience) -> None:
        self._inner = inner
        self._measured = _Measured(patience)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            yield self._measured.add(piece)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _SyncWeb(httpx.Client):
    """Sends what the vendor's client hands it."""

    def __init__(self, account: Account) -> None:
        super().__init__(follow_redirects=False)
        self._account = account

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """See `httpx.Client.send`."""
        patience = _signed(request, self._account)
        response = super().send(request, stream=True, **options)
        patience.begun = True
        response.stream = _SyncBody(cast("httpx.SyncByteStream", response.stream), patience)
        if not stream:
            try:
                response.read()
            finally:
                response.close()
        return response


class AsyncWeb(httpx.AsyncClient):
    """Sends what the vendor's client hands it."""

    def __init__(self, account: Account) -> None:
        super().__init__(follow_redirects=False)
        self._account = account

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """See `httpx.AsyncClient.send`."""
        patience = _signed(request, self._account)
        response = await super().send(request, stream=True, **options)
        patience.begun = True
        response.stream = _AsyncBody(cast("httpx.AsyncByteStream", response.stream), patience)
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


class SyncSdk:
    """The vendor's blocking client, made at its first use and anew after a fork."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._made: tuple[int, ElevenLabs, httpx.Client] | None = None

    def get(self) -> ElevenLabs:
        """Return the client of this process."""
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    # A client from before a fork is let go of unclosed: its connections are the parent's.
                    web = _SyncWeb(self._account)
                    sdk = ElevenLabs(api_key=None, base_url=self._account.base_url, httpx_client=web)
                    made = self._made = (os.getpid(), sdk, web)
        return made[1]

    def close(self) -> None:
        """Close its connections; a later `get` opens new ones."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None and made[0] == os.getpid():
            made[2].close()


def asynchronous_sdk(account: Account, web: AsyncWeb) -> AsyncElevenLabs:
    """Return the vendor's asynchronous client over *web*. It never sees the key."""
    return AsyncElevenLabs(api_key=None, base_url=account.base_url, httpx_client=web)


def _signed(request: httpx.Request, account: Account) -> Patience:
    """Make the request one that may be sent, and return the patience with it. The only place where the key is read."""
    account.check()
    patience = _PATIENCE.get()
    request.extensions = {**request.extensions, "timeout": patience}
    request.headers["xi-api-key"] = account.key() or ""
    return patience
