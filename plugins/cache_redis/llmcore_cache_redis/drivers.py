"""Run plans over blocking connections, or over connections of the running event loop.

A plan is a generator of requests to servers; see `server_finder.Plan`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmcore.support import forks
from llmcore_cache_redis.address import Address, Target
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.link import Link
from llmcore_cache_redis.options import RedisOptions
from llmcore_cache_redis.pool import Bounds, Pool
from llmcore_cache_redis.server_finder import Plan
from llmcore_cache_redis.tls import TLS
from llmcore_cache_redis.wire import ConnectTimeouts, ServerCommands, make_connection_settings

if TYPE_CHECKING:
    import asyncio

    from llmcore_cache_redis.async_link import AsyncLink
    from llmcore_cache_redis.async_pool import AsyncPool

__all__ = ["Asynchronous", "Blocking", "Servers"]

T = TypeVar("T")
Server = tuple[Address, bool]


class Servers:
    """The connection settings of one cache, sync and async."""

    def __init__(self, target: Target, options: RedisOptions, connect_timeout: float | None = None) -> None:
        """Prepare the settings. *connect_timeout* replaces the option `connect_timeout`.

        Raises:
            ConfigError: A certificate file cannot be used.
        """
        self.target = target
        self.options = options
        self.timeout = float(options.timeout)
        self.tls = TLS(options) if target.tls else None
        self.connect_timeouts = ConnectTimeouts(
            connect_timeout or float(options.connect_timeout),
            float(options.tls_timeout) if target.tls else 0.0,
        )
        self.bounds = Bounds.make(options.max_connections, self.connect_timeouts)

    def make_settings(self, commands: ServerCommands) -> dict[str, Any]:
        """Return the arguments with which redis-py connects to the server of *commands*."""
        return make_connection_settings(self.target, self.options, commands)


class Blocking:
    """Runs plans in the calling thread, with one pool per server."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._timeout = servers.timeout
        self._pools: dict[Server, Pool] = {}

    def run(self, plan: Plan[T]) -> T:
        """Return the plan's result."""
        commands = _resume(plan, None, None)
        while not isinstance(commands, _PlanResult):
            replies: list[Any] | None = None
            fault: Exception | None = None
            try:
                replies = self.ask(commands)
            except (Broken, ReplyError) as error:
                fault = error
            commands = _resume(plan, replies, fault)
        return commands.value

    def ask(self, commands: ServerCommands) -> list[Any]:
        """Return the replies."""
        wait = self._timeout if commands.timeout is None else commands.timeout
        return self.get_pool(commands).ask(commands.payload, commands.expected, wait, commands.then)

    def get_pool(self, commands: ServerCommands) -> Pool:
        """Return the pool of connections to the server of *commands*."""
        server = (commands.address, commands.sentinel)
        pool = self._pools.get(server)
        if pool is None:
            made = Pool(lambda: self.connect(commands), self._servers.bounds)
            pool = self._pools.setdefault(server, made)
        return pool

    def connect(self, commands: ServerCommands) -> Link:
        """Return a new connection to the server of *commands*."""
        servers = self._servers
        return Link(commands.address, servers.make_settings(commands), servers.connect_timeouts, servers.tls)

    def close(self) -> None:
        """Close every connection."""
        for pool in list(self._pools.values()):
            pool.close()


class Asynchronous:
    """Runs plans in tasks, with one pool per server and event loop."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._timeout = servers.timeout
        self._loops: dict[asyncio.AbstractEventLoop, _LoopPools] = {}
        forks.watch(self)

    def after_fork(self) -> None:
        """Drop the connections in a forked child, because the parent's event loops use them; see `forks.ForkAware`."""
        forks.leave_to_parent(self._loops)
        self._loops = {}

    async def run(self, plan: Plan[T]) -> T:
        """Return the plan's result."""
        commands = _resume(plan, None, None)
        while not isinstance(commands, _PlanResult):
            replies: list[Any] | None = None
            fault: Exception | None = None
            try:
                replies = await self.ask(commands)
            except (Broken, ReplyError) as error:
                fault = error
            commands = _resume(plan, replies, fault)
        return commands.value

    async def ask(self, commands: ServerCommands) -> list[Any]:
        """Return the replies."""
        wait = self._timeout if commands.timeout is None else commands.timeout
        return await self._get_pool(commands).ask(commands.payload, commands.expected, wait, commands.then)

    async def aclose(self) -> None:
        """Close every connection of the running loop."""
        import asyncio

        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.end.aclose()

    def _get_pool(self, commands: ServerCommands) -> AsyncPool:
        import asyncio

        loop = asyncio.get_running_loop()
        mine = self._loops.get(loop)
        if mine is None:
            for other in [each for each in list(self._loops) if each.is_closed()]:
                self._loops.pop(other, None)  # the loop was closed without `aclose`: drop its connections
            mine = self._loops[loop] = _LoopPools()
        server = (commands.address, commands.sentinel)
        pool = mine.pools.get(server)
        if pool is None:
            from llmcore_cache_redis.async_pool import AsyncPool

            pool = mine.pools[server] = AsyncPool(lambda: self._connect(commands), self._servers.bounds)
        return pool

    async def _connect(self, commands: ServerCommands) -> AsyncLink:
        from llmcore_cache_redis.async_link import AsyncLink

        servers = self._servers
        return await AsyncLink.connect(
            commands.address, servers.make_settings(commands), servers.connect_timeouts, servers.tls
        )


class _LoopPools:
    """The connections of one event loop. `asyncio.run` closes them at its end."""

    def __init__(self) -> None:
        self.pools: dict[Server, AsyncPool] = {}
        self.end = self._close_at_end()
        with suppress(StopIteration):
            # Start the generator. The end of the loop closes only generators that were started.
            self.end.__anext__().send(None)

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for pool in list(self.pools.values()):
                pool.close()


class _PlanResult(Generic[T]):
    """The result of a plan."""

    def __init__(self, value: T) -> None:
        self.value = value


def _resume(
    plan: Plan[T], replies: list[Any] | None, fault: Exception | None
) -> ServerCommands | _PlanResult[T]:
    """Run the plan until its next commands or its end. Without *replies* and *fault*, start the plan."""
    try:
        if fault is not None:
            return plan.throw(fault)
        return next(plan) if replies is None else plan.send(replies)
    except StopIteration as end:
        return _PlanResult(end.value)
