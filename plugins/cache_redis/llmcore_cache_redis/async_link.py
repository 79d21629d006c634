"""One asynchronous connection. A command that is cancelled or times out closes its connection."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when the asynchronous variant is used
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self, cast

from redis.asyncio.connection import AbstractConnection, Connection, DefaultParser, UnixDomainSocketConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from llmcore_cache_redis.address import Address
from llmcore_cache_redis.connection_errors import Attempt, Phase, translate_error
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.tls import TLS
from llmcore_cache_redis.wire import ConnectTimeouts, Request

__all__ = ["AsyncLink"]


class _Deadline:
    """A context manager that raises TimeoutError one iteration of the event loop after a deadline.

    The additional iteration reads bytes that arrived in time, but that a busy loop has not read yet.
    """

    def __init__(self, seconds: float) -> None:
        self._limit = asyncio.timeout(None)
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self.allow(self._seconds)
        return self

    async def __aexit__(self, *raised: Any) -> None:  # noqa: PYI036 - all arguments are passed on
        if self._timer is not None:
            self._timer.cancel()
        await self._limit.__aexit__(*raised)

    def allow(self, seconds: float) -> None:
        """Set the deadline to *seconds* from now."""
        if self._timer is not None:
            self._timer.cancel()
        self._limit.reschedule(None)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._limit.reschedule, 0.0)


class _Parser(DefaultParser):  # type: ignore[misc, valid-type, unused-ignore]
    """A parser that keeps the text of error replies."""

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        return ReplyError(response)


class _Aborting(AbstractConnection):
    """A connection that is closed without waiting: `disconnect` aborts it.

    To close a connection, redis-py would wait 30 seconds for the end of TLS, and forever if the write buffer is full.
    """

    deadline: _Deadline | None = None

    def abort(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._reader = self._writer = None
        self._parser.on_disconnect()  # type: ignore[no-untyped-call, unused-ignore]

    async def disconnect(self, *_: object, **__: object) -> None:
        self.abort()


class _Internet(_Aborting, Connection):
    """Connects by TCP, then by TLS if it is used, with separate deadlines."""

    phase: Phase = "tcp"

    def __init__(self, *, timeouts: ConnectTimeouts, tls: TLS | None, **made: Any) -> None:
        super().__init__(**made)
        self._timeouts = timeouts
        self._tls = tls
        self._connected: socket.socket | None = None

    async def _connect(self) -> None:
        addresses = await _look_up(self.host, self.port)
        # start the deadline only after the look-up, which may wait for a thread
        self._allow(self._timeouts.tcp)
        self._connected = await _connect_tcp(addresses)
        if self._tls is None:
            await super()._connect()  # type: ignore[no-untyped-call, unused-ignore]
        else:
            self.phase = "tls"
            self._allow(self._timeouts.tls)
            self._reader, self._writer = await self._encrypt(self._connected, self._tls)
        self.phase = "greeting"

    def _allow(self, seconds: float) -> None:
        if self.deadline is not None:
            self.deadline.allow(seconds)

    def _connection_arguments(self) -> dict[str, Any]:
        """Return the arguments that redis-py passes to `asyncio.open_connection`."""
        return {"sock": self._connected}

    async def _encrypt(
        self, connected: socket.socket, tls: TLS
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Do the TLS handshake on *connected*.

        `asyncio.open_connection` is not used: if it is cancelled before the handshake, it leaves *connected*
        open.
        """
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in cast("dict[int, int]", self.socket_keepalive_options).items():
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
        loop = asyncio.get_running_loop()
        plain, _ = await loop.create_connection(asyncio.Protocol, sock=connected)
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            encrypted = await loop.start_tls(
                plain,
                protocol,
                tls.get_context(),
                server_hostname=self.host,
                ssl_handshake_timeout=2
                * self._timeouts.tls,  # never reached, because `_Deadline` ends the wait earlier
            )
        except BaseException:
            plain.abort()
            raise
        if encrypted is None:  # the connection was lost: uvloop returns None
            raise ConnectionResetError
        protocol.connection_made(encrypted)  # `start_tls` does not call it
        return reader, asyncio.StreamWriter(encrypted, protocol, reader, loop)


class _Local(_Aborting, UnixDomainSocketConnection):
    """Connects by a Unix socket."""

    phase: Phase = "greeting"


async def _look_up(host: str, port: int) -> list[Any]:
    """Return the addresses of *host*, as `socket.getaddrinfo` does. A numeric address needs no thread."""
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _connect_tcp(addresses: Sequence[Any]) -> socket.socket:
    """Return a socket that is connected to the first of *addresses* that accepts it."""
    fault: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        connected = socket.socket(family, kind, protocol)
        connected.setblocking(False)  # noqa: FBT003 - `setblocking` has no keyword
        try:
            await asyncio.get_running_loop().sock_connect(connected, address)
        except OSError as error:
            connected.close()
            fault = error
        except BaseException:
            connected.close()
            raise
        else:
            return connected
    raise fault or OSError("no address")


class AsyncLink:
    """A connection, used by one task at a time. `connect` establishes it."""

    def __init__(self, address: Address, connection: Any, tls: TLS | None) -> None:
        self.address = address
        self.used = False
        self.generation = 0
        self._tls = tls
        self._connection = connection
        self._send = connection.send_packed_command
        self._read = connection.read_response
        self._timer: asyncio.Handle | None = None
        self._expired = False

    @classmethod
    async def connect(
        cls, address: Address, made: dict[str, Any], timeouts: ConnectTimeouts, tls: TLS | None = None
    ) -> AsyncLink:
        """Establish a connection; see `Link`.

        Raises:
            Broken: The connection could not be established in time.
            ReplyError: The server refused it.
        """
        made = {**made, "parser_class": _Parser, "socket_timeout": None, "socket_connect_timeout": None}
        connection: Any = _Internet(**made, timeouts=timeouts, tls=tls) if address.port else _Local(**made)
        link = cls(address, connection, tls)
        fault: Broken | ReplyError | None = None
        try:
            async with _Deadline(timeouts.whole) as deadline:
                connection.deadline = deadline
                await connection.connect()
        except (RedisError, OSError, ValueError) as error:
            fault = link._translate_error(error)
        except BaseException:
            link.close()
            raise
        finally:
            connection.deadline = None
        if fault is not None:
            link.close()
            raise fault
        connection.phase = "ready"
        return link

    async def ask(
        self,
        payload: bytes,
        count: int,
        timeout: float,  # noqa: ASYNC109 - one call_later is cheaper than asyncio.timeout()
        then: Callable[[list[Any]], Request] | None = None,
    ) -> list[Any]:
        """Send *payload* and return *count* replies. A reply may be an error of the server. See `ServerCommands.then`.

        Raises:
            Broken: The connection was lost, or not all replies arrived in time. The connection is closed, as after a
                cancellation.
        """
        fault: Broken | ReplyError | None = None
        replies: list[Any] = []
        started = False
        self._timer = asyncio.get_running_loop().call_later(timeout, self._expire)
        try:
            await self._send(payload, check_health=False)
            while len(replies) < count:
                try:
                    replies.append(await self._read(disable_decoding=True))
                except ReplyError as error:
                    replies.append(error)
                started = True
        except (RedisError, OSError, ValueError) as error:
            fault = self._translate_error(RedisTimeoutError() if self._expired else error)
        except BaseException:
            self.close()
            raise
        finally:
            self._timer.cancel()
        if fault is not None:
            self.close()
            if isinstance(fault, Broken):
                fault.stale = self.used and not started and not self._expired
            raise fault
        self.used = True
        if self._expired:
            self.generation = -1  # the connection was aborted, so the pool must not reuse it
        if then is not None:
            # `used` only decides `stale`. The server has just answered, so a failure of the next request is not due to
            # a stale connection.
            self.used = False
            replies += await self.ask(*then(replies), timeout)
        return replies

    def close(self) -> None:
        """End the connection at once."""
        self._connection.abort()

    def _expire(self) -> None:
        """Abort after one more iteration of the event loop, which reads a reply that has arrived."""
        self._timer = asyncio.get_running_loop().call_soon(self._abort)

    def _abort(self) -> None:
        self._expired = True
        # Do not call `_Aborting.abort`: it also removes the reader, and a task still waits for data from the reader.
        writer = self._connection._writer  # noqa: SLF001 - redis-py has no public name for it
        if writer is not None:
            writer.transport.abort()

    def _translate_error(self, error: Exception) -> Broken | ReplyError:
        return translate_error(error, Attempt(self.address, self._connection.phase, self._tls))
