"""Receive reports about written and deleted keys from the server (client-side caching invalidation, RESP3)."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import hiredis

from llmcore.errors import CacheError
from llmcore.support import forks
from llmcore.support.threads import start_thread
from llmcore_cache_redis.address import Address
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.link import Link
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.wire import ServerCommands, pack_command

__all__ = ["Watcher"]

_log: Final = logging.getLogger("llmcore.cache_redis")
_PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0)
_PING_S: Final = 2.0
_SILENCE_S: Final = 5.0
"""Seconds without any data, not even a reply to PING, after which the connection counts as lost."""


class Watcher:
    """A thread that listens for reports on one connection until `close`.

    Args:
        where: Returns the server to listen to; raises `Broken` or `ReplyError` if no server is found.
        doubt: Called with a server whose connection has ended.
        connect: Makes a connection.
        names: The names of the namespace to watch.
        changed: The callback of `CacheChanges.watch`; its errors are logged.
        translate_error: Returns the `CacheError` for a refusal.
    """

    def __init__(
        self,
        where: Callable[[], Address],
        doubt: Callable[[Address], None],
        connect: Callable[[ServerCommands], Link],
        names: Names,
        changed: Callable[[Sequence[str] | None], None],
        *,
        translate_error: Callable[[ReplyError], CacheError],
    ) -> None:
        self._where = where
        self._doubt = doubt
        self._connect = connect
        self._names = names
        self._changed = changed
        self._translate_error = translate_error
        self._refusal = ""
        """The last refusal of the server, which is logged once."""
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Start to listen in a thread; return False if no thread can be started."""
        self._closed = threading.Event()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        thread = threading.Thread(target=self._watch, name="llmcore-cache-redis", daemon=True)
        if not start_thread(thread):
            self._closed.set()
            self._wake_receiver.close()
            self._wake_sender.close()
            return False
        self._thread = thread
        forks.watch(self)
        return True

    def close(self) -> None:
        """Stop listening. After this method has returned, no more reports are passed on."""
        self._closed.set()
        with suppress(OSError):
            self._wake_sender.send(b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_SILENCE_S)
        self._wake_sender.close()

    def after_fork(self) -> None:
        """Start a new thread in the child process, unless the watcher is closed; see `forks.ForkAware`."""
        if self._closed.is_set():
            return
        self._wake_receiver.close()
        self._wake_sender.close()
        self._report(None)
        self.start()

    def _watch(self) -> None:
        attempt = 0
        with self._wake_receiver:
            while not self._closed.is_set():
                link = None
                try:
                    link = self._connect_tracking()
                    attempt, self._refusal = 0, ""
                    self._report([])
                    self._listen(link)
                except ReplyError as error:
                    self._warn(error)
                except Broken:
                    pass
                if link is not None:
                    link.close()
                    self._doubt(link.address)
                    if not self._closed.is_set():
                        self._report(None)
                self._closed.wait(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
                attempt += 1

    def _warn(self, refused: ReplyError) -> None:
        """Log a refusal, because the memory tier cannot be used without reports.

        Log the same refusal only once.
        """
        error = self._translate_error(refused)
        if not refused.is_outage and error.message != self._refusal:
            self._refusal = error.message
            _log.warning(
                "%s: changes are not reported, so there is no memory tier; fix: %s", error.message, error.fix
            )

    def _connect_tracking(self) -> Link:
        address = self._where()
        try:
            link = self._connect(ServerCommands(address, b""))
        except (Broken, ReplyError):
            self._doubt(address)
            raise
        asked = pack_command((b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", self._names.prefix))
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
        received_at = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(link.socket, selectors.EVENT_READ)
            selector.register(self._wake_receiver, selectors.EVENT_READ)
            while not self._closed.is_set():
                self._report_changes(link)
                if selector.select(_PING_S):
                    if self._closed.is_set():
                        return
                    link.feed()
                    received_at = time.monotonic()
                elif time.monotonic() - received_at > _SILENCE_S:
                    raise Broken(f"{link.address} was silent for too long")
                else:
                    link.send(pack_command((b"PING",)))

    def _report_changes(self, link: Link) -> None:
        while (message := link.read_pushed()) is not None:
            if type(message) is not hiredis.PushNotification or message[0] != b"invalidate":
                continue
            names: Any = message[1]
            if names is None:  # the server was flushed
                self._report(None)
                self._report([])
                continue
            keys = [key for name in names if (key := self._names.parse_key(name)) is not None]
            if keys:
                self._report(keys)

    def _report(self, keys: Sequence[str] | None) -> None:
        try:
            self._changed(keys)
        except Exception as error:  # noqa: BLE001 - an error of the callback must not end the reports
            _log.warning("a callback for changes of the cache failed: %s", type(error).__name__)
