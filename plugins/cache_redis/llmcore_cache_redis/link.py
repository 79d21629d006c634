"""One blocking connection. redis-py sets it up; each wait has a deadline."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import hiredis
from redis.connection import Connection, DefaultParser, UnixDomainSocketConnection
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    RedisError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from llmcore.support.name_lookup import look_up
from llmcore_cache_redis.address import Address
from llmcore_cache_redis.connection_errors import Attempt, Phase, translate_error
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.tls import TLS
from llmcore_cache_redis.wire import ConnectTimeouts, Request

__all__ = ["Link"]

_READ_BYTES: Final = 2**16
_MOMENT_S: Final = 0.001
_LOOKUP_S: Final = 1.5
"""The time limit in seconds for looking up the server's host name. llmcore allows two seconds for the look-up
and the connection together."""


class _Parser(DefaultParser):  # type: ignore[misc, valid-type, unused-ignore]
    """Stops reading at a deadline, even if bytes still arrive slowly. Error replies of the server keep their text."""

    deadline = float("inf")
    _late = False

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        return ReplyError(response)

    def read_from_socket(self, *_: object, **__: object) -> bool:
        left = self.deadline - time.monotonic()
        if left <= 0:
            if self._late:
                raise RedisTimeoutError
            # Read once more: this process may have been too busy to read bytes that arrived in time.
            self._late, left = True, _MOMENT_S
        if self._sock is None or self._reader is None:
            raise RedisConnectionError("closed")
        self._sock.settimeout(left)
        received = self._sock.recv_into(self._buffer)
        if not received:
            raise RedisConnectionError("closed by server")
        self._reader.feed(self._buffer, 0, received)
        return True


class _Tcp(Connection):
    """Connects to the first address of the host that accepts a connection.

    The look-up of the name has a separate timeout.
    """

    def _connect(self) -> socket.socket:
        host: str = self.host
        fault: OSError = ConnectionRefusedError(f"{host} has no address")
        try:
            for *_, address in look_up(host, self.port, _LOOKUP_S):
                self.host = address[0]
                self._parser.deadline = time.monotonic() + float(self.socket_connect_timeout or 0.0)
                try:
                    connected: socket.socket = super()._connect()  # type: ignore[no-untyped-call, unused-ignore]
                except OSError as error:
                    fault = error
                else:
                    return connected
        finally:
            self.host = host
        raise fault


class _Plain(_Tcp):
    """Connects by TCP, and records the stage of the connection in `phase`."""

    phase: Phase = "tcp"

    def _connect(self) -> socket.socket:
        connected = super()._connect()
        self.phase = "greeting"
        return connected


class _Encrypted(_Tcp):
    """Connects by TCP, then by TLS, with separate deadlines."""

    phase: Phase = "tcp"

    def __init__(self, *, tls: TLS, tls_timeout: float, **made: Any) -> None:
        super().__init__(**made)  # type: ignore[no-untyped-call, unused-ignore]
        self._tls = tls
        self._tls_timeout = tls_timeout

    def _connect(self) -> socket.socket:
        connected = super()._connect()
        self.phase = "tls"
        self._parser.deadline = time.monotonic() + self._tls_timeout
        try:
            wrapped = self._tls.get_context().wrap_socket(
                connected, server_hostname=self.host, do_handshake_on_connect=False
            )
        except BaseException:
            connected.close()
            raise
        try:
            wrapped.settimeout(self._tls_timeout)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        self.phase = "greeting"
        return wrapped


class _Local(UnixDomainSocketConnection):
    """Connects by a Unix socket."""

    phase: Phase = "greeting"


class Link:
    """A connection, used by one thread at a time.

    Args:
        address: The address of the server.
        made: The arguments of redis-py's connection.
        timeouts: The timeouts for TCP and TLS.
        tls: The TLS settings; None for plain text.

    Raises:
        Broken: The connection could not be established in time.
        ReplyError: The server refused it.
    """

    def __init__(
        self, address: Address, made: dict[str, Any], timeouts: ConnectTimeouts, tls: TLS | None = None
    ) -> None:
        self.address = address
        self.used = False
        self.generation = 0
        self._tls = tls
        self._timeout = -1.0
        self._started = False
        made = {
            **made,
            "parser_class": _Parser,
            "socket_timeout": timeouts.tcp,
            "socket_connect_timeout": timeouts.tcp,
            "socket_read_size": _READ_BYTES,
        }
        if tls is not None:
            made |= {"tls": tls, "tls_timeout": timeouts.tls}
        kind: Any = _Local if not address.port else _Encrypted if tls is not None else _Plain
        self._connection: Any = kind(**made)
        self._parser: Any = self._connection._parser  # noqa: SLF001 - the parser is an object of our class `_Parser`
        self._parser.deadline = time.monotonic() + timeouts.tcp
        fault: Broken | ReplyError | None = None
        try:
            self._connection.connect()
        except (RedisError, OSError, ValueError) as error:
            fault = self._translate_error(error)
        except BaseException:
            self.close()
            raise
        if fault is not None:
            self.close()
            raise fault
        self._connection.phase = "ready"
        self._parser.deadline = float("inf")
        self.socket: socket.socket = self._parser._sock  # noqa: SLF001 - redis-py has no public name for it
        self._reader: Any = self._parser._reader  # noqa: SLF001 - redis-py has no public name for it
        self._gets: Callable[[], Any] = self._reader.gets
        self._nothing: Final = self._gets()  # the value while no complete reply has arrived
        self._buffer = bytearray(_READ_BYTES)

    def ask(
        self, payload: bytes, count: int, timeout: float, then: Callable[[list[Any]], Request] | None = None
    ) -> list[Any]:
        """Send *payload* and return *count* replies. A reply may be an error of the server. See `ServerCommands.then`.

        Raises:
            Broken: The connection was lost, or not all replies arrived in time. The connection is closed.
        """
        fault: Broken | ReplyError | None = None
        self._started = False
        try:
            replies = self._read_replies(payload, count, timeout)
        except (RedisError, hiredis.HiredisError, OSError) as error:
            fault = self._translate_error(error)
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
            self.generation = -1  # an extra reply has arrived, which the next user must not read
        if then is not None:
            # `used` only decides `stale`. The server has just answered, so a failure of the next request is not due to
            # a stale connection.
            self.used = False
            replies += self.ask(*then(replies), timeout)
        return replies

    def read_pushed(self) -> Sequence[Any] | None:
        """Return a message that has arrived completely; None if no complete message has arrived.

        Raises:
            Broken: The received bytes are not valid in the protocol.
        """
        try:
            message = self._gets()
        except (RedisError, hiredis.HiredisError) as error:
            fault = self._translate_error(error)
        else:
            return None if message is self._nothing else message
        self.close()
        raise fault

    def send(self, payload: bytes) -> None:
        """Send *payload*. `read_pushed` reads the reply.

        Raises:
            Broken: The connection was lost.
        """
        try:
            self.socket.sendall(payload)
        except OSError as error:
            fault = self._translate_error(error)
        else:
            return
        self.close()
        raise fault

    def feed(self) -> None:
        """Read the bytes that have arrived.

        Raises:
            Broken: The connection was lost.
        """
        try:
            received = self.socket.recv_into(self._buffer)
        except OSError as error:
            fault = self._translate_error(error)
        else:
            if received:
                self._reader.feed(self._buffer, 0, received)
                return
            fault = Broken(f"{self.address} closed the connection")
        self.close()
        raise fault

    def close(self) -> None:
        """Close the connection.

        Any thread may call this method. A call in a forked child does not affect the parent's connection.
        """
        with suppress(OSError, RedisError, AttributeError):
            self._connection.disconnect()

    def _translate_error(self, error: Exception) -> Broken | ReplyError:
        return translate_error(error, Attempt(self.address, self._connection.phase, self._tls))

    def _read_replies(self, payload: bytes, count: int, timeout: float) -> list[Any]:
        deadline = time.monotonic() + timeout
        if timeout != self._timeout:
            self.socket.settimeout(timeout)
            self._timeout = timeout
        self.socket.sendall(payload)
        replies: list[Any] = []
        while len(replies) < count:
            reply = self._gets()
            if reply is self._nothing:
                # The first wait has the full timeout. Later waits have only the time until the deadline.
                if self._started:
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
