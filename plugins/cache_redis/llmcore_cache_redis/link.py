"""One blocking connection: redis-py sets it up, and every wait on it ends by a deadline."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import hiredis
from redis.connection import Connection, DefaultParser, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    RedisError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from llmcore_cache_redis.address import Address
from llmcore_cache_redis.faults import Broken, ReplyError
from llmcore_cache_redis.wire import broken

__all__ = ["Link"]

_READ_BYTES: Final = 2**16


class _Parser(DefaultParser):  # type: ignore[misc, valid-type, unused-ignore]
    """Reads until a deadline, however slowly the bytes drip in; keeps the server's errors as they are worded."""

    deadline = float("inf")

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        return ReplyError(response)

    def read_from_socket(self, *_: object, **__: object) -> bool:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RedisTimeoutError
        if self._sock is None or self._reader is None:
            raise RedisConnectionError("closed")
        self._sock.settimeout(left)
        received = self._sock.recv_into(self._buffer)
        if not received:
            raise RedisConnectionError("closed by server")
        self._reader.feed(self._buffer, 0, received)
        return True


class Link:
    """A connection, used by one thread at a time.

    Raises:
        Broken: It could not be made in time.
        ReplyError: The server refused it.
    """

    def __init__(self, address: Address, made: dict[str, Any], timeout: float, *, tls: bool) -> None:
        kind: Any = UnixDomainSocketConnection if not address.port else SSLConnection if tls else Connection
        self.address = address
        self.used = False
        self.generation = 0
        self._timeout = -1.0
        self._started = False
        fault: Broken | ReplyError | None = None
        self._connection: Any = kind(
            **made,
            parser_class=_Parser,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_read_size=_READ_BYTES,
        )
        self._parser: Any = self._connection._parser  # noqa: SLF001 - made by the connection, of our own class
        self._parser.deadline = time.monotonic() + timeout
        try:
            self._connection.connect()
        except (RedisError, OSError, ValueError) as error:
            fault = broken(error, address)
        except BaseException:
            self.close()
            raise
        if fault is not None:
            self.close()
            raise fault
        self._parser.deadline = float("inf")
        self.socket: socket.socket = self._parser._sock  # noqa: SLF001 - as above
        self._reader: Any = self._parser._reader  # noqa: SLF001 - as above
        self._gets: Callable[[], Any] = self._reader.gets
        self._nothing: Final = self._gets()  # what the reader gives while a reply is not whole
        self._buffer = bytearray(_READ_BYTES)

    def ask(self, payload: bytes, count: int, timeout: float) -> list[Any]:
        """Send *payload* and return its *count* replies; errors of the server are among them.

        Raises:
            Broken: Not all of them came in time; the connection is closed.
        """
        fault: Broken | ReplyError | None = None
        self._started = False
        try:
            replies = self._replies(payload, count, timeout)
        except (RedisError, hiredis.HiredisError, OSError) as error:
            fault = broken(error, self.address)
            closed = not isinstance(error, TimeoutError | RedisTimeoutError)
        except BaseException:
            self.close()
            raise
        if fault is not None:
            self.close()
            if isinstance(fault, Broken):
                fault.stale = closed and self.used and not self._started
            raise fault
        self.used = True
        if self._reader.has_data():
            self.generation = -1  # more came than was asked for: nobody else may read it
        return replies

    def pushed(self) -> Sequence[Any] | None:
        """Return a message that has arrived whole; None where there is none yet.

        Raises:
            Broken: What arrived is not the protocol.
        """
        try:
            message = self._gets()
        except (RedisError, hiredis.HiredisError) as error:
            fault = broken(error, self.address)
        else:
            return None if message is self._nothing else message
        self.close()
        raise fault

    def send(self, payload: bytes) -> None:
        """Send *payload*, whose reply is read by `pushed`.

        Raises:
            Broken: The connection was lost.
        """
        try:
            self.socket.sendall(payload)
        except OSError as error:
            fault = broken(error, self.address)
        else:
            return
        self.close()
        raise fault

    def feed(self) -> None:
        """Read what has arrived.

        Raises:
            Broken: The connection was lost.
        """
        try:
            received = self.socket.recv_into(self._buffer)
        except OSError as error:
            fault = broken(error, self.address)
        else:
            if received:
                self._reader.feed(self._buffer, 0, received)
                return
            fault = Broken(f"{self.address} closed the connection")
        self.close()
        raise fault

    def close(self) -> None:
        """End the connection; safe from any thread, and in a forked child it leaves the parent's alone."""
        with suppress(OSError, RedisError, AttributeError):
            self._connection.disconnect()

    def _replies(self, payload: bytes, count: int, timeout: float) -> list[Any]:
        deadline = time.monotonic() + timeout
        if timeout != self._timeout:
            self.socket.settimeout(timeout)
            self._timeout = timeout
        self.socket.sendall(payload)
        replies: list[Any] = []
        while len(replies) < count:
            reply = self._gets()
            if reply is self._nothing:
                if self._started:  # the socket's own timeout ends the first wait
                    self._shorten(deadline)
                self._receive()
                self._started = True
            elif type(reply) is not hiredis.PushNotification:
                replies.append(reply)
        return replies

    def _shorten(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise RedisTimeoutError
        self.socket.settimeout(left)
        self._timeout = left

    def _receive(self) -> None:
        received = self.socket.recv_into(self._buffer)
        if not received:
            raise RedisConnectionError("closed by server")
        self._reader.feed(self._buffer, 0, received)
