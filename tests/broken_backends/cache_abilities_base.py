"""The correct caches of cache_abilities.py."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence


class Memory:
    """Correct, with no ability."""

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


class Able(Memory):
    """Correct, with every ability."""

    def __init__(self) -> None:
        super().__init__()
        self.leases: dict[str, tuple[str, float]] = {}
        self.written = 0
        self.watchers: list[Callable[[Sequence[str] | None], None]] = []

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key, value, ttl)
        self.wrote(key)

    def delete(self, key: str) -> bool:
        there = super().delete(key)
        self.wrote(key)
        return there

    def clear(self) -> None:
        super().clear()
        self.wrote()

    def wrote(self, *keys: str) -> None:
        self.written += 1
        for changed in self.watchers:
            changed(keys)

    def keys(self) -> Iterator[str]:
        yield from [key for key in list(self.entries) if self.get(key) is not None]

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def delete_matching(self, pattern: str) -> int:
        wanted = re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
        return sum(self.delete(key) for key in self.keys() if wanted.fullmatch(key))

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        with self.lock:
            now = time.monotonic()
            has, until = self.leases.get(key, (holder, now))
            if has != holder and until > now:
                return False
            self.leases[key] = holder, now + ttl
            return True

    def release(self, key: str, holder: str) -> None:
        with self.lock:
            if self.leases.get(key, ("", 0))[0] == holder:
                del self.leases[key]

    def version(self) -> int:
        return self.written

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        self.watchers.append(changed)
        changed([])
        return True

    def unavailable(self) -> dict[str, str]:
        return {"watch": "the server does not report changes"}
