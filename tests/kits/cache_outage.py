"""A shared cache in memory, written like a plugin; tests of outages can disconnect each of its clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from llmcore.cache import CacheManager
from llmcore.cache.store import CacheStore
from llmcore.calls.backend import Backend
from llmcore.errors import CacheError, CacheUnavailable
from llmcore.hookspecs import Options, Provider

__all__ = ["Link", "Server", "make_cache"]


class Server:
    """Entries that several connections share. It reports changes, or has a version."""

    def __init__(self, tells: Literal["reports", "versions"] = "reports") -> None:
        self.tells = tells
        self.now = 0.0
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.version = 0
        self.lock = threading.Lock()
        self.links: list[Link] = []

    def clock(self) -> float:
        return self.now

    def connect(self) -> Link:
        link = Reporting(self) if self.tells == "reports" else Counting(self)
        self.links.append(link)
        return link

    def tell(self, keys: Sequence[str] | None) -> None:
        self.version += 1
        for link in self.links:
            link.hear(keys)


class Link:
    """One connection: a cache provider that a test cuts off from the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_cut = False
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.delay_s = 0.0
        """Of each `delete`."""
        self.at_delete: Callable[[], None] | None = None
        """Called during a `delete` that succeeds."""

    def get(self, key: str) -> bytes | None:
        self._ask("get")
        value, ends = self.server.kept.get(key, (None, 0.0))
        return None if value is None or self.server.now >= ends else value

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self._ask("set")
        ends = float("inf") if ttl is None else self.server.now + ttl
        with self.server.lock:
            self.server.kept[key] = value, ends
            self.server.tell([key])

    def delete(self, key: str) -> bool:
        self._ask("delete")
        there = self.get(key) is not None
        time.sleep(self.delay_s)
        with self.server.lock:
            self.server.kept.pop(key, None)
            self.server.tell([key])
        if self.at_delete is not None:
            self.at_delete()
        return there

    def clear(self) -> None:
        self._ask("clear")
        with self.server.lock:
            self.server.kept.clear()
            self.server.tell(None)
            self.server.tell([])

    def keys(self) -> Iterator[str]:
        self._ask("keys")
        yield from [key for key, (_, ends) in list(self.server.kept.items()) if self.server.now < ends]

    def hear(self, keys: Sequence[str] | None) -> None:
        """Receive a report of changed keys."""

    def cut(self) -> None:
        """Cut the connection."""
        self.is_cut = True
        self.lose_reports()

    def repair(self, *, reports: bool = True) -> None:
        """Connect it again."""
        self.is_cut = False
        if reports:
            self.regain_reports()

    def lose_reports(self) -> None:
        """Lose the reports, while the backend still answers."""

    def regain_reports(self) -> None:
        """Have reports again."""

    def _ask(self, operation: str) -> None:
        self.asked.append(operation)
        if self.is_cut:
            raise CacheUnavailable("the server is away")
        if operation in self.refused:
            raise CacheUnavailable("not now") if operation == "delete" else CacheError("not allowed")


class Reporting(Link):
    """Reports changes, as Redis does."""

    _changed: Callable[[Sequence[str] | None], None] | None = None
    _reports = False

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        self._changed = changed
        self.regain_reports()
        return True

    def hear(self, keys: Sequence[str] | None) -> None:
        if self._reports and self._changed is not None:
            self._changed(keys)

    def lose_reports(self) -> None:
        if self._reports and self._changed is not None:
            self._reports = False
            self._changed(None)

    def regain_reports(self) -> None:
        if not self._reports and self._changed is not None and not self.is_cut:
            self._reports = True
            self._changed([])


class Counting(Link):
    """Counts writes, as a file does."""

    def version(self) -> int:
        if self.is_cut:
            raise CacheUnavailable("the server is away")
        return self.server.version


class _NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return Options()


def make_cache(
    link: Link,
    *,
    memory: int = 10**6,
    on_outage: Literal["memory", "miss"] = "memory",
    clock: Callable[[], float] = time.monotonic,
) -> CacheManager:
    """Return a cache on *link*."""
    entry = Provider(name="shared", create=lambda _: link)
    backend = Backend("cache", entry, _NoOptions())
    given: dict[str, Any] = {"memory": memory, "on_outage": on_outage, "clock": clock}
    return CacheManager(store=CacheStore(backend, **given))
