"""Caches that remove an expired entry in `get` only, or see one page, on purpose; test_conformance_expiry.py runs this file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from llmcore_testing.conformance import CacheConformance
from tests.broken_backends.cache_refusals import Server


class KeysTellWhatExpiredUnread(Server):
    """bluele/gcache#17: keys that expired unread are listed."""

    def keys(self) -> Iterator[str]:
        yield from list(self.entries)


class DeleteFindsWhatExpiredUnread(Server):
    def delete(self, key: str) -> bool:
        return self.entries.pop(key, None) is not None


class ManyFindsWhatExpiredUnread(Server):
    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self.entries[key][0] for key in keys if key in self.entries}


class MatchingCountsWhatExpiredUnread(Server):
    def delete_matching(self, pattern: str) -> int:
        found = [key for key in self.entries if key.startswith(pattern.rstrip("*"))]
        for key in found:
            del self.entries[key]
        return len(found)


class SetAddsToWhatExpiredUnread(Server):
    """avoidwork/tiny-lru#37: keeps the old end of an entry that is still in the table."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        _, ends = self.entries.get(key, (b"", None))
        super().set(key, value, ttl)
        if ends is not None and ends <= time.monotonic():
            self.entries[key] = value, ends


class KeysAreAThousandAtMost(Server):
    """redis/node-redis#775: only the first page of keys is listed."""

    def keys(self) -> Iterator[str]:
        yield from list(super().keys())[:1000]


class KeysComeTwice(Server):
    """Grokzen/redis-py-cluster#121: a cursor may return a key of one page on the next page too, as Redis documents for SCAN."""

    def keys(self) -> Iterator[str]:
        found = list(super().keys())
        yield from found
        yield from found[-5:] if len(found) > 1000 else ()


class ClearsAThousandAtMost(Server):
    """benavlabs/FastAPI-boilerplate#269: only the first page of keys is removed."""

    def clear(self) -> None:
        for key in list(self.entries)[:1000]:
            del self.entries[key]


class Kit(CacheConformance):
    lacks = ("version", "watch")
    backend: type = Server

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class TestServer(Kit):
    """Correct."""


for _backend in (
    KeysTellWhatExpiredUnread, DeleteFindsWhatExpiredUnread, ManyFindsWhatExpiredUnread, MatchingCountsWhatExpiredUnread,
    SetAddsToWhatExpiredUnread, KeysAreAThousandAtMost, KeysComeTwice, ClearsAThousandAtMost,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
