"""Blocking connections to one server: idle ones, a bounded number of new ones, and callers that wait for the first that is free."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from llmcore.support import forks
from llmcore_cache_redis.faults import Broken, ReplyError
from llmcore_cache_redis.link import Link
from llmcore_cache_redis.wire import Limits, Request

__all__ = ["Bounds", "Pool"]

_HANDSHAKES: Final = 4
"""TLS handshakes at once. They cost both sides CPU: too many share it so long that all of them miss their deadline."""


class Bounds(NamedTuple):
    """How many connections there may be, and how long a caller waits for one besides its own timeout."""

    connections: int
    handshakes: int
    """How many may be made at once."""
    wait: float
    """Seconds; as long as it takes to make one."""
    busy: float
    """Seconds that a command gets besides its timeout during handshakes: one thread of the server does both."""

    @classmethod
    def of(cls, connections: int, limits: Limits) -> Bounds:
        """Return the bounds for *connections* in all, each made within *limits*."""
        return cls(connections, _HANDSHAKES if limits.tls else connections, limits.whole, limits.tls)


class Pool:
    """Gives each caller a connection of its own, the one used last first.

    The common way takes no lock: lists are atomic at their end. A caller that finds no idle connection makes one, or waits if
    enough are being made.

    Args:
        make: Makes a connection.
        bounds: How many there may be.
    """

    def __init__(self, make: Callable[[], Link], bounds: Bounds) -> None:
        self._make = make
        self._bounds = bounds
        self._start()
        forks.watch(self)

    def after_fork(self) -> None:
        """Forget the connections, which are the parent's; see `forks.ForkAware`. redis-py does not shut them down."""
        self._start()

    def _start(self) -> None:
        self._idle: list[Link] = []
        self._open = 0
        """All connections: idle, busy and being made."""
        self._making = 0
        self._waiting = 0
        self._generation = 0
        self._epoch = 0
        """Raised by `close`: a connection that was begun before is closed after its first use."""
        self._slow = 0
        """How many times one was slow while others worked or were being made."""
        self._failures = 0
        """How many times one could not be made for another reason."""
        self._fault: Broken | ReplyError | None = None
        """Of the last one that could not be made."""
        self._changed = threading.Condition(forks.lock())

    def ask(
        self, payload: bytes, count: int, timeout: float, then: Callable[[list[Any]], Request] | None = None
    ) -> list[Any]:
        """Send *payload* over a connection and return its replies; see `Step`.

        Raises:
            Broken: There was no answer in time.
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
                self.drop()  # what is idle is likely to be as dead
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
        """Close the idle connections, and the busy ones when they are done."""
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
        """Do what `drop` does, also to connections that are being made."""
        self._epoch += 1
        self.drop()

    def _acquire(self, timeout: float) -> Link:
        """Return an idle connection or a new one.

        Raises:
            Broken: None was free in time, or none could be made.
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
        """Return an idle connection, or None when the caller has the place to make one; with *fault* it has had its attempt.

        Raises:
            Broken: There was neither before *deadline*, or others failed to make one.
            ReplyError: As above.
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
        # A copy: several threads raise it, and each adds its traceback.
        raise copy.copy(fault) if fault else Broken(f"all {self._bounds.connections} connections were busy")

    def _has_place(self) -> bool:
        return self._open < self._bounds.connections and self._making < self._bounds.handshakes

    def _add(self) -> Link:
        """Make a connection in the place that the caller has.

        Raises:
            Broken: It could not be made.
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
                self._changed.notify_all()  # any of them may make the next one
        return link

    def _may_ignore(self, fault: Broken | ReplyError) -> bool:
        """Note that a connection could not be made; return whether others may work nevertheless: one was slow, they are not.

        Otherwise all that wait for one fail with it, and what is idle is dropped.
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
