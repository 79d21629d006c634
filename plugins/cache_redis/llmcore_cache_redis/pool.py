"""A blocking connection pool for one server, which bounds the number of connections and of simultaneous handshakes."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from llmcore.support import forks
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.link import Link
from llmcore_cache_redis.wire import ConnectTimeouts, Request

__all__ = ["Bounds", "Pool"]

_HANDSHAKES: Final = 4
"""Maximum number of simultaneous TLS handshakes.

Each handshake costs CPU on both sides. If too many ran at once, all would miss their deadline.
"""


class Bounds(NamedTuple):
    """The limits of a pool: numbers of connections and handshakes, and waiting times."""

    connections: int
    handshakes: int
    """Maximum number of connections that are being established at the same time."""
    wait: float
    """Timeout in seconds for establishing a connection."""
    busy: float
    """Extra seconds for a command during handshakes, because the server does handshakes and commands in one
    thread."""

    @classmethod
    def make(cls, connections: int, timeouts: ConnectTimeouts) -> Bounds:
        """Return the bounds of a pool of *connections* connections, each established within *timeouts*."""
        return cls(connections, _HANDSHAKES if timeouts.tls else connections, timeouts.whole, timeouts.tls)


class Pool:
    """A pool in which each connection has one caller at a time. The most recently used connection is taken first.

    Taking an idle connection needs no lock, because operations at the end of a list are atomic. If no
    connection is idle, the caller opens one. If the bounds do not allow another connection, the caller waits.

    Args:
        make: Establishes a connection.
        bounds: The limits of the pool.
    """

    def __init__(self, make: Callable[[], Link], bounds: Bounds) -> None:
        self._make = make
        self._bounds = bounds
        self._start()
        forks.watch(self)

    def after_fork(self) -> None:
        """Drop the connections in a forked child, because they belong to the parent.

        See `forks.ForkAware`. redis-py then closes the child's descriptors, without a shutdown of the
        connections.
        """
        self._start()

    def _start(self) -> None:
        self._idle: list[Link] = []
        self._open = 0
        """Number of connections: idle, busy and being established."""
        self._making = 0
        self._waiting = 0
        self._generation = 0
        """Increased by `drop`. A connection of an earlier generation is closed after its current use."""
        self._epoch = 0
        """Increased by `close`. A connection that was begun before `close` is closed after its first use."""
        self._slow = 0
        """Number of connection attempts that were too slow while other connections worked or were being established."""
        self._failures = 0
        """Number of connection attempts that failed in any other case."""
        self._fault: Broken | ReplyError | None = None
        """The reason why the last connection attempt failed."""
        self._changed = threading.Condition(forks.lock())

    def ask(
        self, payload: bytes, count: int, timeout: float, then: Callable[[list[Any]], Request] | None = None
    ) -> list[Any]:
        """Send *payload* over a connection and return its replies; see `ServerCommands`.

        Raises:
            Broken: The server did not answer in time.
            ReplyError: The server refused the connection.
        """
        try:
            link = self._idle.pop()
        except IndexError:
            link = self._acquire(timeout)
        if self._making:
            timeout += self._bounds.busy
        try:
            replies = link.ask(payload, count, timeout, then)
        except BaseException as error:
            self._discard(1)
            if isinstance(error, Broken | ReplyError):
                self.drop()  # the idle connections are probably dead too
            raise
        if link.generation != self._generation:
            link.close()
            self._discard(1)
            return replies
        self._idle.append(link)
        if self._waiting:
            with self._changed:
                self._changed.notify()
        return replies

    def drop(self) -> None:
        """Close idle connections now, and busy connections after their current use."""
        self._generation += 1
        dropped = 0
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                break
            link.close()
            dropped += 1
        self._discard(dropped)

    def close(self) -> None:
        """Drop all connections, including those that are being opened."""
        self._epoch += 1
        self.drop()

    def _acquire(self, timeout: float) -> Link:
        """Return an idle connection or a new one.

        Raises:
            Broken: No connection became free in time, or none could be established.
            ReplyError: The server refuses connections.
        """
        deadline = time.monotonic() + timeout + self._bounds.wait
        fault: Broken | ReplyError | None = None
        while True:
            link = self._wait(deadline, fault)
            if link is not None:
                return link
            try:
                return self._add()
            except (Broken, ReplyError) as error:
                if not self._may_ignore(error):
                    raise
                fault = error

    def _wait(self, deadline: float, fault: Broken | ReplyError | None) -> Link | None:
        """Return an idle connection, or None if the caller may establish one.

        *fault* is the error of the caller's own attempt to connect; None if the caller has not tried.

        Raises:
            Broken: No connection became free before *deadline*, or other callers failed to connect.
            ReplyError: The server refuses connections.
        """
        with self._changed:
            slow, failures = self._slow, self._failures
            self._waiting += 1
            try:
                while True:
                    try:
                        return self._idle.pop()
                    except IndexError:
                        pass
                    left = deadline - time.monotonic()
                    if left <= 0 or failures != self._failures:
                        if fault is None and (slow, failures) != (self._slow, self._failures):
                            fault = self._fault
                        break
                    discouraged = slow != self._slow and self._open == self._making
                    if fault is None and not discouraged and self._has_place():
                        self._open += 1
                        self._making += 1
                        return None
                    self._changed.wait(left)
            finally:
                self._waiting -= 1
        # A copy, because several threads raise the error and each adds a traceback.
        raise copy.copy(fault) if fault else Broken(f"all {self._bounds.connections} connections were busy")

    def _has_place(self) -> bool:
        return self._open < self._bounds.connections and self._making < self._bounds.handshakes

    def _add(self) -> Link:
        """Establish a connection. `_wait` has already counted it in `_open`.

        Raises:
            Broken: The connection could not be established.
            ReplyError: The server refused it.
        """
        epoch = self._epoch
        try:
            link = self._make()
        except BaseException:
            with self._changed:
                self._making -= 1
                self._open -= 1
                self._changed.notify_all()
            raise
        with self._changed:
            self._making -= 1
            link.generation = self._generation if epoch == self._epoch else -1
            if self._waiting:
                self._changed.notify_all()  # any waiting caller may establish the next connection
        return link

    def _may_ignore(self, fault: Broken | ReplyError) -> bool:
        """Record a failed connection attempt; return whether other connections may still work.

        They may work if this attempt was only too slow and the pool has other connections. In all other cases, the
        waiting callers fail with the same fault, and the idle connections are dropped.
        """
        with self._changed:
            if isinstance(fault, Broken) and fault.slow and self._open:
                self._slow += 1
                self._fault = fault
                return True
            self._fault = fault
            self._failures += 1
            self._changed.notify_all()
        self.drop()
        return False

    def _discard(self, count: int) -> None:
        if count:
            with self._changed:
                self._open -= count
                self._changed.notify_all()
