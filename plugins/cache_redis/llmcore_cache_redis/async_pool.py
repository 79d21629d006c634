"""An asynchronous connection pool for one server and one event loop; see `pool`."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when the asynchronous variant is used
import copy
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from llmcore_cache_redis.async_link import AsyncLink
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.pool import Bounds
from llmcore_cache_redis.wire import Request

__all__ = ["AsyncPool"]
_Turn = asyncio.Future[AsyncLink]


class AsyncPool:
    """A pool in which each connection has one caller at a time. The most recently used connection is taken first.

    Tasks of the pool establish the connections. A cancelled caller therefore does not close a connection that other
    callers wait for. A caller receives the first connection that becomes free, even if the connection that was
    started for this caller is slow.

    Args:
        make: Establishes a connection.
        bounds: The limits of the pool.
    """

    def __init__(self, make: Callable[[], Awaitable[AsyncLink]], bounds: Bounds) -> None:
        self._make = make
        self._bounds = bounds
        self._idle: list[AsyncLink] = []
        self._waiting: deque[_Turn] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._open = 0
        """Number of idle and busy connections."""
        self._waited_since = 0.0
        """The time since which at least one caller has been waiting."""
        self._generation = 0
        self._slow: Broken | ReplyError | None = None
        """The fault of the last connection attempt if it timed out and `_add` ignored it; otherwise None."""

    async def ask(
        self,
        payload: bytes,
        count: int,
        timeout: float,  # noqa: ASYNC109 - passed to the timer of the connection
        then: Callable[[list[Any]], Request] | None = None,
    ) -> list[Any]:
        """Send *payload* over a connection and return its replies; see `ServerCommands`.

        Raises:
            Broken: The server did not answer in time, all connections were busy, none could be established, or the
                cache was closed.
            ReplyError: The server refused the connection.
        """
        link = self._idle.pop() if self._idle else await self._wait(timeout)
        if self._making:
            timeout += self._bounds.busy
        try:
            replies = await link.ask(payload, count, timeout, then)
        except BaseException as error:
            self._open -= 1
            if isinstance(error, Broken | ReplyError):
                self.drop()  # the idle connections are probably dead too
            self._grow()
            raise
        self._give(link)
        return replies

    def drop(self) -> None:
        """Close idle connections now, and busy connections after their current use."""
        self._generation += 1
        idle, self._idle = self._idle, []
        self._open -= len(idle)
        for link in idle:
            link.close()

    def close(self) -> None:
        """Drop all connections, and fail the callers that wait for one."""
        for task in self._making:
            task.cancel()
        self._fail(Broken("the cache was closed"))
        self.drop()

    async def _wait(self, timeout: float) -> AsyncLink:  # noqa: ASYNC109 - passed to the timer of the connection
        """Return a connection as soon as one is free. The caller that has waited longest is served first.

        Raises:
            Broken: No connection became free in time, none could be established, or the cache was closed.
            ReplyError: The server refuses connections.
        """
        turn: _Turn = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._waited_since = time.monotonic()
        self._waiting.append(turn)
        self._grow()
        try:
            await asyncio.wait({turn}, timeout=timeout + self._bounds.wait)
        except BaseException:
            self._leave(turn)
            raise
        if turn.done():
            return turn.result()
        self._leave(turn)
        if self._slow is not None:
            raise copy.copy(self._slow)
        raise Broken(f"all {self._bounds.connections} connections were busy, or being made")

    def _leave(self, turn: _Turn) -> None:
        """Stop waiting. A connection that was assigned at the same moment goes to the next caller."""
        with suppress(ValueError):
            self._waiting.remove(turn)
        if not turn.cancel() and turn.exception() is None:
            self._give(turn.result())

    def _give(self, link: AsyncLink) -> None:
        """Give *link* to the caller that has waited longest, or keep it."""
        if link.generation != self._generation:
            self._open -= 1
            link.close()
            self._grow()
        elif self._waiting:
            self._waiting.popleft().set_result(link)
        else:
            # The server may close the link while it is idle. If the next command fails, this mark lets `AsyncLink.ask`
            # set `stale`, so the command may be sent again.
            link.used = True
            self._idle.append(link)

    def _grow(self) -> None:
        """Begin connections for the waiting callers, as many as `_bounds` allows."""
        while (
            len(self._making) < min(len(self._waiting), self._bounds.handshakes)
            and self._open + len(self._making) < self._bounds.connections
        ):
            task = asyncio.get_running_loop().create_task(self._add())
            # Without the next line, asyncio logs "Task was destroyed" if the application closes the loop while the task
            # runs.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
            self._making.add(task)
            task.add_done_callback(self._finish_connecting)

    async def _add(self) -> None:
        began = time.monotonic()
        fault: Broken | ReplyError
        try:
            link = await self._make()
        except (Broken, ReplyError) as error:
            fault = error
        else:
            link.generation = self._generation
            self._open += 1
            self._slow = None
            self._give(link)
            return
        # While other connections work or are being established, one slow connection does not mean that the server
        # fails.
        ignored = isinstance(fault, Broken) and fault.slow and (self._open or len(self._making) > 1)
        self._slow = fault if ignored else None
        # Also ignore the failure of a connection that was started before the present callers began to wait. The server
        # may have been restarted since then.
        if not ignored and began >= self._waited_since:
            self._fail(fault)
            self.drop()

    def _finish_connecting(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._fail(Broken(f"a connection could not be made: {type(error).__name__}"))
        if self._slow is None or self._open:
            self._grow()

    def _fail(self, fault: Broken | ReplyError) -> None:
        """Make all waiting callers raise a copy of the error. Each copy gets its own traceback."""
        while self._waiting:
            self._waiting.popleft().set_exception(copy.copy(fault))
