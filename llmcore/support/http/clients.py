"""Manage HTTP clients: one for the threads of a process, and one for each event loop. All of them are safe over a fork."""

from __future__ import annotations

import asyncio  # noqa: TID253 - this module is loaded only when a provider is created
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from llmcore.support import forks

__all__ = ["LoopClients", "ThreadClient"]

T = TypeVar("T")


class ThreadClient(Generic[T]):
    """The blocking client of a process, created at its first use and again after a fork.

    Args:
        create: Creates the client.
        close: Closes the connections of the client.
    """

    def __init__(self, create: Callable[[], T], close: Callable[[T], None]) -> None:
        self._create = create
        self._close = close
        self._lock = forks.lock()
        self._client: T | None = None
        forks.watch(self)

    def after_fork(self) -> None:
        """Drop the client in a forked child without closing it, because the parent uses its connections."""
        self._client = None

    def get(self) -> T:
        """Return the client of this process."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = self._create()
        return client

    def close(self) -> None:
        """Close the connections of the client. A later `get` creates a new client."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            self._close(client)


class LoopClients(Generic[T]):
    """One asynchronous client for each event loop, because connections belong to the loop that opened them.

    A client is created at its first use, and closed when its loop is shut down.

    Args:
        create: Creates the client. Called in the loop.
        close: Closes the connections of the client. Called in the loop.
    """

    def __init__(self, create: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._create = create
        self._close = close
        self._lock = forks.lock()
        self._clients: dict[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None]]] = {}
        forks.watch(self)

    def after_fork(self) -> None:
        """Drop all clients in a forked child: closing them would affect the parent's event loops; see `forks.ForkAware`."""
        forks.leave_to_parent(self._clients)
        self._clients = {}

    async def get(self) -> T:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        existing = self._clients.get(loop)
        if existing is not None:
            return existing[0]
        with self._lock:  # creating a client uses locks of OpenSSL, so a fork must wait for it
            client = self._create()
            keeper = self._keep(loop, client)
            for other in [each for each in self._clients if each.is_closed()]:
                del self._clients[other]
            self._clients[loop] = (client, keeper)
        await anext(keeper)
        return client

    async def aclose(self) -> None:
        """Close the clients of all loops that run. The client of another loop is closed when that loop is shut down."""
        here = asyncio.get_running_loop()
        for loop, keeper in self._get_keepers():
            if loop is here:
                await keeper.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(keeper.aclose(), loop)

    def close(self) -> None:
        """Close the clients that can be closed from outside of their loops."""
        for loop, keeper in self._get_keepers():
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(keeper.aclose(), loop)
            elif not loop.is_closed() and not _is_inside_a_loop():
                loop.run_until_complete(keeper.aclose())

    async def _keep(self, loop: asyncio.AbstractEventLoop, client: T) -> AsyncGenerator[None]:
        """Hold the client open until the loop ends. Then `asyncio.run` closes this generator, which closes the client."""
        try:
            yield
        finally:
            with self._lock:
                self._clients.pop(loop, None)
            await self._close(client)

    def _get_keepers(self) -> list[tuple[asyncio.AbstractEventLoop, AsyncGenerator[None]]]:
        with self._lock:
            return [(loop, keeper) for loop, (_, keeper) in self._clients.items()]


def _is_inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
