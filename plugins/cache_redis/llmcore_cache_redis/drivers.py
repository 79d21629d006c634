"""Carries plans out: over blocking connections, or over those of the running event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmcore_cache_redis.address import Address, Target
from llmcore_cache_redis.faults import Broken, ReplyError
from llmcore_cache_redis.link import Link
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.pool import Pool
from llmcore_cache_redis.routes import Plan
from llmcore_cache_redis.wire import Step, settings

if TYPE_CHECKING:
    import asyncio

    from llmcore_cache_redis.alink import AsyncLink, AsyncPool

__all__ = ["Asynchronous", "Blocking"]

T = TypeVar("T")
Server = tuple[Address, bool]


class Blocking:
    """Carries plans out in the calling thread; one pool a server."""

    def __init__(self, target: Target, options: RedisOptions) -> None:
        self._target = target
        self._options = options
        self._timeout = float(options.timeout)
        self._pools: dict[Server, Pool] = {}

    def run(self, plan: Plan[T]) -> T:
        """Return the plan's result."""
        step = resumed(plan, None, None)
        while not isinstance(step, Done):
            replies: list[Any] | None = None
            fault: Exception | None = None
            try:
                replies = self.ask(step)
            except (Broken, ReplyError) as error:
                fault = error
            step = resumed(plan, replies, fault)
        return step.value

    def ask(self, step: Step) -> list[Any]:
        """Return the replies."""
        pool = self.pool(step)
        return pool.ask(step.payload, step.expected, self._timeout if step.timeout is None else step.timeout)

    def pool(self, step: Step) -> Pool:
        """Return the connections to the server of *step*."""
        server = (step.address, step.sentinel)
        pool = self._pools.get(server)
        if pool is None:
            made = Pool(lambda: self.link(step), self._options.max_connections)
            pool = self._pools.setdefault(server, made)
        return pool

    def link(self, step: Step) -> Link:
        """Return a new connection to the server of *step*."""
        made = settings(self._target, self._options, step)
        return Link(step.address, made, float(self._options.connect_timeout), tls=self._target.tls)

    def close(self) -> None:
        """Close every connection."""
        for pool in list(self._pools.values()):
            pool.drop()


class Asynchronous:
    """Carries plans out in tasks; one pool a server and event loop."""

    def __init__(self, target: Target, options: RedisOptions) -> None:
        self._target = target
        self._options = options
        self._timeout = float(options.timeout)
        self._loops: dict[asyncio.AbstractEventLoop, _InLoop] = {}

    async def run(self, plan: Plan[T]) -> T:
        """Return the plan's result."""
        step = resumed(plan, None, None)
        while not isinstance(step, Done):
            replies: list[Any] | None = None
            fault: Exception | None = None
            try:
                replies = await self.ask(step)
            except (Broken, ReplyError) as error:
                fault = error
            step = resumed(plan, replies, fault)
        return step.value

    async def ask(self, step: Step) -> list[Any]:
        """Return the replies."""
        wait = self._timeout if step.timeout is None else step.timeout
        return await self._pool(step).ask(step.payload, step.expected, wait)

    async def aclose(self) -> None:
        """Close every connection of the running loop."""
        import asyncio

        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.end.aclose()

    def _pool(self, step: Step) -> AsyncPool:
        import asyncio

        loop = asyncio.get_running_loop()
        mine = self._loops.get(loop)
        if mine is None:
            for other in [each for each in list(self._loops) if each.is_closed()]:
                self._loops.pop(other, None)  # closed by hand: its connections go with it
            mine = self._loops[loop] = _InLoop()
        server = (step.address, step.sentinel)
        pool = mine.pools.get(server)
        if pool is None:
            from llmcore_cache_redis.alink import AsyncPool

            pool = mine.pools[server] = AsyncPool(lambda: self._link(step), self._options.max_connections)
        return pool

    async def _link(self, step: Step) -> AsyncLink:
        from llmcore_cache_redis.alink import AsyncLink

        made = settings(self._target, self._options, step)
        timeout = float(self._options.connect_timeout)
        return await AsyncLink.connect(step.address, made, timeout, tls=self._target.tls)


class _InLoop:
    """The connections of one event loop, which `asyncio.run` closes where nobody else does."""

    def __init__(self) -> None:
        self.pools: dict[Server, AsyncPool] = {}
        self.end = self._ending()
        with suppress(StopIteration):
            # Begun: what ends a loop closes all asynchronous generators first.
            self.end.__anext__().send(None)

    async def _ending(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for pool in list(self.pools.values()):
                await pool.drop()


class Done(Generic[T]):
    """A plan's result."""

    def __init__(self, value: T) -> None:
        self.value = value


def resumed(plan: Plan[T], replies: list[Any] | None, fault: Exception | None) -> Step | Done[T]:
    """Go on with the plan until its next step or its end; without replies and fault it begins."""
    try:
        if fault is not None:
            return plan.throw(fault)
        return next(plan) if replies is None else plan.send(replies)
    except StopIteration as end:
        return Done(end.value)
