"""Idle blocking connections to one server, the one used last first."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from llmcore_cache_redis.faults import Broken, ReplyError
from llmcore_cache_redis.link import Link

__all__ = ["Pool"]


class Pool:
    """Hands each asker a connection of its own. The common way takes no lock: lists are atomic at their end.

    Args:
        make: Makes a connection.
        most: How many there may be; beyond it askers wait, within their own time.
    """

    def __init__(self, make: Callable[[], Link], most: int) -> None:
        self._make = make
        self._most = most
        self._reset()

    def ask(self, payload: bytes, count: int, timeout: float) -> list[Any]:
        """Send *payload* over a connection and return its replies.

        Raises:
            Broken: There was no answer in time.
            ReplyError: The server refused the connection.
        """
        if self._pid != os.getpid():
            self._reset()
        try:
            link = self._idle.pop()
        except IndexError:
            link = self._another(timeout)
        try:
            replies = link.ask(payload, count, timeout)
        except (Broken, ReplyError):
            self._lost()
            raise
        except BaseException:
            self._one_less()
            raise
        if link.generation != self._generation:
            link.close()
            self._one_less()
            return replies
        self._idle.append(link)
        if self._waiting:
            with self._changed:
                self._changed.notify()
        return replies

    def drop(self) -> None:
        """Close the idle connections, and the busy ones when they are done."""
        self._generation += 1
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return
            link.close()
            self._one_less()

    def _another(self, timeout: float) -> Link:
        deadline = time.monotonic() + timeout
        with self._changed:
            self._waiting += 1
            try:
                generation = self._generation
                while self._open >= self._most and not self._idle:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._changed.wait(left) or generation != self._generation:
                        raise Broken(f"all {self._most} connections were busy, or broke")
                if self._idle:
                    return self._idle.pop()
                self._open += 1
            finally:
                self._waiting -= 1
        try:
            link = self._make()
        except (Broken, ReplyError):
            self._lost()
            raise
        except BaseException:
            self._one_less()
            raise
        link.generation = self._generation
        return link

    def _lost(self) -> None:
        """Count out a broken connection; what lies idle is likely to be as dead."""
        self._one_less()
        self.drop()

    def _one_less(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify()

    def _reset(self) -> None:
        """Begin anew; in a forked child the parent's connections are forgotten."""
        self._pid = os.getpid()
        self._idle: list[Link] = []
        self._open = 0
        self._waiting = 0
        self._generation = 0
        self._changed = threading.Condition(threading.Lock())
