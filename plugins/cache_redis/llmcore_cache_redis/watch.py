"""Hears from the server which keys were written or deleted, through its client-side invalidation (RESP3)."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import hiredis

from llmcore_cache_redis.address import Address
from llmcore_cache_redis.faults import Broken, ReplyError
from llmcore_cache_redis.link import Link
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.wire import Step, command

__all__ = ["Watcher"]

_log: Final = logging.getLogger(__name__)
_PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0)
_PING_S: Final = 2.0
_SILENCE_S: Final = 5.0
"""After so long without a word, not even an answer to a ping, the connection counts as lost."""

_alive: weakref.WeakSet[Watcher] = weakref.WeakSet()


class Watcher:
    """One connection and the thread that listens to it until `close`.

    Args:
        where: Tells the server to listen to; raises what connections raise.
        doubt: Told of a server that failed.
        connect: Makes a connection.
        names: Of the namespace to watch.
        changed: Told as `CacheChanges.watch` says; what it raises is logged.
    """

    def __init__(
        self,
        where: Callable[[], Address],
        doubt: Callable[[Address], None],
        connect: Callable[[Step], Link],
        names: Names,
        changed: Callable[[Sequence[str] | None], None],
    ) -> None:
        self._where = where
        self._doubt = doubt
        self._connect = connect
        self._names = names
        self._changed = changed
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen; returns at once."""
        self._closed = threading.Event()
        self._ear, self._bell = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="llmcore-cache-redis", daemon=True)
        self._thread.start()
        _alive.add(self)

    def close(self) -> None:
        """Stop listening; nothing is told once this has returned."""
        _alive.discard(self)
        self._closed.set()
        with suppress(OSError):
            self._bell.send(b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_SILENCE_S)
        self._bell.close()

    def after_fork(self) -> None:
        """Listen anew in a forked child, which has no thread."""
        self._ear.close()
        self._bell.close()
        self._tell(None)
        self.start()

    def _watch(self) -> None:
        attempt = 0
        with self._ear:
            while not self._closed.is_set():
                link = None
                with suppress(Broken, ReplyError):
                    link = self._tracking()
                    attempt = 0
                    self._tell([])
                    self._listen(link)
                if link is not None:
                    link.close()
                    self._doubt(link.address)
                    if not self._closed.is_set():
                        self._tell(None)
                self._closed.wait(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
                attempt += 1

    def _tracking(self) -> Link:
        address = self._where()
        try:
            link = self._connect(Step(address, b""))
        except (Broken, ReplyError):
            self._doubt(address)
            raise
        asked = command((b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", self._names.prefix))
        try:
            (reply,) = link.ask(asked, 1, _SILENCE_S)
        except BaseException:
            link.close()
            raise
        if isinstance(reply, ReplyError):
            link.close()
            raise reply
        return link

    def _listen(self, link: Link) -> None:
        link.socket.settimeout(_SILENCE_S)
        heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(link.socket, selectors.EVENT_READ)
            selector.register(self._ear, selectors.EVENT_READ)
            while not self._closed.is_set():
                self._pass_on(link)
                if selector.select(_PING_S):
                    if self._closed.is_set():
                        return
                    link.feed()
                    heard = time.monotonic()
                elif time.monotonic() - heard > _SILENCE_S:
                    raise Broken(f"{link.address} was silent for too long")
                else:
                    link.send(command((b"PING",)))

    def _pass_on(self, link: Link) -> None:
        while (message := link.pushed()) is not None:
            if type(message) is not hiredis.PushNotification or message[0] != b"invalidate":
                continue
            names: Any = message[1]
            if names is None:  # everything was flushed
                self._tell(None)
                self._tell([])
                continue
            keys = [key for name in names if (key := self._names.key(name)) is not None]
            if keys:
                self._tell(keys)

    def _tell(self, keys: Sequence[str] | None) -> None:
        try:
            self._changed(keys)
        except Exception as error:  # noqa: BLE001 - the listener's fault must not end the reports
            _log.warning("a listener to changes of the cache failed: %s", type(error).__name__)


def _in_child() -> None:
    for watcher in list(_alive):
        watcher.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
