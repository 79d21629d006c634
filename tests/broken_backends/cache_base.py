"""The correct caches of cache.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator


class Memory:
    """Correct, blocking; the least that keeps the contract."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, float | None]] = {}
        self.lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        value, ends = self.entries.get(key, (None, None))
        return None if ends is not None and ends <= time.monotonic() else value

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.entries[key] = (value, None if ttl is None else time.monotonic() + ttl)

    def delete(self, key: str) -> bool:
        with self.lock:
            there = self.get(key) is not None
            self.entries.pop(key, None)
            return there

    def clear(self) -> None:
        self.entries.clear()


class AsyncMemory:
    """Correct, asynchronous."""

    def __init__(self) -> None:
        self.inner = Memory()

    async def aget(self, key: str) -> bytes | None:
        return self.inner.get(key)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.inner.set(key, value, ttl)

    async def adelete(self, key: str) -> bool:
        return self.inner.delete(key)

    async def aclear(self) -> None:
        self.inner.clear()


class Both(Memory, AsyncMemory):
    """Correct, sync and async, with keys."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = self

    def keys(self) -> Iterator[str]:
        yield from [key for key in list(self.entries) if self.get(key) is not None]
