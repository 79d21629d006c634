"""One asynchronous connection and the idle ones of a server: whatever interrupts a command ends its connection."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when the asynchronous colour is used
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import Connection, DefaultParser, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from llmcore_cache_redis.address import Address
from llmcore_cache_redis.faults import Broken, ReplyError
from llmcore_cache_redis.wire import broken

__all__ = ["AsyncLink", "AsyncPool"]


class _Parser(DefaultParser):  # type: ignore[misc, valid-type, unused-ignore]
    """Keeps the server's errors as they are worded."""

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        return ReplyError(response)


class AsyncLink:
    """A connection, used by one task at a time; made by `connect`."""

    def __init__(self, address: Address, connection: Any) -> None:
        self.address = address
        self.used = False
        self.generation = 0
        self._connection = connection
        self._send = connection.send_packed_command
        self._read = connection.read_response
        self._expired = False

    @classmethod
    async def connect(
        cls,
        address: Address,
        made: dict[str, Any],
        timeout: float,  # noqa: ASYNC109 - a failure is told in our words
        *,
        tls: bool,
    ) -> AsyncLink:
        """Make a connection within *timeout* seconds.

        Raises:
            Broken: It could not be made in time.
            ReplyError: The server refused it.
        """
        kind = UnixDomainSocketConnection if not address.port else SSLConnection if tls else Connection
        connection: Any = kind(**made, parser_class=_Parser, socket_timeout=None, socket_connect_timeout=None)
        link = cls(address, connection)
        fault: Broken | ReplyError | None = None
        try:
            async with asyncio.timeout(timeout):
                await connection.connect()
        except (RedisError, OSError, ValueError) as error:
            fault = broken(error, address)
        except BaseException:
            await link.close()
            raise
        if fault is not None:
            await link.close()
            raise fault
        return link

    async def ask(self, payload: bytes, count: int, timeout: float) -> list[Any]:  # noqa: ASYNC109 - one timer is cheaper
        """Send *payload* and return its *count* replies; errors of the server are among them.

        Raises:
            Broken: Not all of them came in time; the connection is closed, as it is where the task is cancelled.
        """
        fault: Broken | ReplyError | None = None
        replies: list[Any] = []
        started = False
        timer = asyncio.get_running_loop().call_later(timeout, self._expire)
        try:
            await self._send(payload, check_health=False)
            while len(replies) < count:
                try:
                    replies.append(await self._read(disable_decoding=True))
                except ReplyError as error:
                    replies.append(error)
                started = True
        except (RedisError, OSError, ValueError) as error:
            fault = broken(RedisTimeoutError() if self._expired else error, self.address)
        except BaseException:
            await self.close()
            raise
        finally:
            timer.cancel()
        if fault is not None:
            await self.close()
            if isinstance(fault, Broken):
                fault.stale = self.used and not started and not self._expired
            raise fault
        self.used = True
        return replies

    async def close(self) -> None:
        """End the connection."""
        with suppress(RedisError, OSError, RuntimeError):
            await self._connection.disconnect(nowait=True)

    def _expire(self) -> None:
        self._expired = True
        writer = self._connection._writer  # noqa: SLF001 - redis-py has no way to end one that another task reads
        if writer is not None:
            writer.transport.abort()


class AsyncPool:
    """Idle connections of one event loop to one server, the one used last first.

    Args:
        make: Makes a connection.
        most: How many there may be; beyond it askers wait, within their own time.
    """

    def __init__(self, make: Callable[[], Awaitable[AsyncLink]], most: int) -> None:
        self._make = make
        self._most = most
        self._idle: list[AsyncLink] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open = 0
        self._generation = 0

    async def ask(self, payload: bytes, count: int, timeout: float) -> list[Any]:  # noqa: ASYNC109 - as above
        """Send *payload* over a connection and return its replies; see `AsyncLink.ask`."""
        link = self._idle.pop() if self._idle else await self._another(timeout)
        try:
            replies = await link.ask(payload, count, timeout)
        except (Broken, ReplyError):
            self._one_less()
            await self.drop()
            raise
        except BaseException:
            self._one_less()
            raise
        if link.generation != self._generation:
            self._one_less()
            await link.close()
            return replies
        self._idle.append(link)
        self._wake()
        return replies

    async def drop(self) -> None:
        """Close the idle connections, and the busy ones when they are done."""
        self._generation += 1
        idle, self._idle = self._idle, []
        for link in idle:
            self._one_less()
            await link.close()

    async def _another(self, timeout: float) -> AsyncLink:  # noqa: ASYNC109 - as above
        deadline = time.monotonic() + timeout
        generation = self._generation
        while not self._idle and self._open >= self._most:
            if not await self._turn(deadline) or generation != self._generation:
                raise Broken(f"all {self._most} connections were busy, or broke")
        if self._idle:
            return self._idle.pop()
        self._open += 1
        try:
            link = await self._make()
        except (Broken, ReplyError):
            self._one_less()
            await self.drop()
            raise
        except BaseException:
            self._one_less()
            raise
        link.generation = self._generation
        return link

    async def _turn(self, deadline: float) -> bool:
        """Wait until a connection may be free; return whether that was before *deadline*."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            done, _ = await asyncio.wait({turn}, timeout=deadline - time.monotonic())
        except BaseException:
            if turn.done():
                self._wake()  # it was this one's turn: it goes to the next
            turn.cancel()
            raise
        turn.cancel()
        return bool(done)

    def _one_less(self) -> None:
        self._open -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
