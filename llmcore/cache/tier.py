"""The memory tier: values of a cache kept in this process as well, for as long as that is sure to be true."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from llmcore.builtin import forks
from llmcore.builtin.memory_cache import MemoryCache
from llmcore.builtin.plugin import MemoryOptions
from llmcore.errors import CacheError
from llmcore.units import Size

__all__ = ["Tier"]


class Tier:
    """Answers before the backend does. What others write is noticed in one of two ways.

    A backend that can tell its `version` is asked for it at each look-up, which costs it next to nothing; one that
    reports changes is listened to. In front of any other there is no tier.
    """

    def __init__(self, provider: Any, size: int) -> None:
        self._size = Size(size)
        self._epoch = 0
        self.renewed()
        forks.renew(self)
        self._listening = False
        self._version: Callable[[], int] | None = getattr(provider, "version", None)
        if self._version is not None:
            self._epoch = self._said()
            self._listening = True

    def renewed(self) -> None:
        """See `forks.Renewable`."""
        self._kept = MemoryCache(MemoryOptions(max_size=self._size))
        self._lock = threading.Lock()

    @classmethod
    def in_front_of(cls, provider: Any, size: int) -> Tier | None:
        """Return a tier of *size* bytes, or None where *provider* cannot keep one true."""
        if not size or isinstance(provider, MemoryCache):
            return None
        if hasattr(provider, "version"):
            return cls(provider, size)
        if hasattr(provider, "watch"):
            tier = cls(provider, size)
            return tier if provider.watch(tier.changed) else None
        return None

    def epoch(self) -> int:
        """Return the state that a value read from now on belongs to; see `put`."""
        if self._version is not None:
            self._synchronise(self._said())
        return self._epoch

    def get(self, key: str) -> bytes | None:
        """Return the value, or None where it is not here or may not be true any more."""
        if self._version is not None and (now := self._said()) != self._epoch:
            self._synchronise(now)
        return self._kept.get(key) if self._listening else None

    def put(self, key: str, value: bytes, expires: float, epoch: int) -> None:
        """Keep *value*, which was read from or written to the backend.

        Args:
            key: Its key.
            value: As the backend has it.
            expires: When its time is over, in seconds since 1970; 0 for never.
            epoch: What `epoch` said before the backend was asked: had anything changed since, the value might be old.
        """
        ttl = expires - time.time() if expires else None
        if not self._listening or (ttl is not None and ttl <= 0):
            return
        with self._lock:
            if epoch == self._epoch:
                try:
                    self._kept.set(key, value, ttl)
                except CacheError:  # larger than the tier
                    self._kept.delete(key)

    def drop(self, key: str) -> None:
        """Forget one value, before it is written or deleted."""
        self._kept.delete(key)

    def wrote(self, epoch: int) -> int:
        """Take note of one write of our own to a backend that counts them; return the state after it."""
        if self._version is None:
            return epoch
        with self._lock:
            now = self._said()
            if self._epoch == epoch and now == epoch + 1:  # ours was the only one
                self._epoch = now
        return now

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._epoch += self._version is None
            self._kept.clear()

    def changed(self, keys: Sequence[str] | None) -> None:
        """Hear what others wrote; see `CacheChanges.watch`."""
        with self._lock:
            self._epoch += 1
            self._listening = keys is not None
            if keys is None:
                self._kept.clear()
            else:
                for key in keys:
                    self._kept.delete(key)

    def _said(self) -> int:
        """Return the backend's version; where it cannot tell, one that nothing here belongs to."""
        assert self._version is not None  # noqa: S101 - for the type checker
        try:
            return self._version()
        except Exception:  # noqa: BLE001 - a stranger's backend; what it is asked next tells what is wrong
            return -1

    def _synchronise(self, version: int) -> None:
        if version != self._epoch:
            with self._lock:
                self._epoch = version
                self._kept.clear()
