"""One asynchronous HTTP client for each event loop: connections belong to the loop that opened them."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a provider is created
import threading
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

import httpx2
import openai  # noqa: TID253 - loaded only when a provider is created

from llmcore_openai_optimized._http import Patience

__all__ = ["AsyncClients", "Listening"]


class Listening:
    """Ends the reading of a body with TimeoutError when patience does, whatever the transport allows itself."""

    __slots__ = ("_limit", "_loop", "_patience")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(patience.get("read"))

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._limit.__aexit__(kind, error, trace)

    def heard(self) -> None:
        """Begin anew to wait: there was a sign of life."""
        self._limit.reschedule(self._loop.time() + (self._patience.get("read") or 0))


class AsyncClients:
    """Makes the client of the running loop at its first use, and closes it when the loop is shut down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, tuple[httpx2.AsyncClient, AsyncGenerator[None]]] = {}

    async def get(self) -> httpx2.AsyncClient:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is not None:
            return held[0]
        client = _client()
        keeper = self._keep(loop, client)
        with self._lock:
            for other in [each for each in self._clients if each.is_closed()]:
                del self._clients[other]
            self._clients[loop] = (client, keeper)
        await anext(keeper)
        return client

    async def aclose(self) -> None:
        """Close the clients of all loops that still run; of the others nothing is left to close."""
        here = asyncio.get_running_loop()
        for loop, (_, keeper) in self._taken():
            if loop is here:
                await keeper.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(keeper.aclose(), loop)

    def close(self) -> None:
        """Close what can be closed from outside of the loops."""
        for loop, (_, keeper) in self._taken():
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(keeper.aclose(), loop)
            elif not loop.is_closed() and not _inside_a_loop():
                loop.run_until_complete(keeper.aclose())

    async def _keep(
        self, loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient
    ) -> AsyncGenerator[None]:
        """Hold the client open until the loop ends: `asyncio.run` closes what generators hold."""
        try:
            yield
        finally:
            with self._lock:
                self._clients.pop(loop, None)
            await client.aclose()

    def _taken(
        self,
    ) -> list[tuple[asyncio.AbstractEventLoop, tuple[httpx2.AsyncClient, AsyncGenerator[None]]]]:
        with self._lock:
            return list(self._clients.items())


def _client() -> httpx2.AsyncClient:
    """Return the vendor's client over aiohttp where that is installed: it costs half the CPU."""
    try:
        return openai.DefaultAioHttpClient(follow_redirects=False)
    except RuntimeError:  # what the SDK's stand-in raises without aiohttp
        return openai.DefaultAsyncHttpxClient(follow_redirects=False)


def _inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
