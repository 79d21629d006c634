"""Caches, good and broken on purpose, under `CacheConformance`; test_conformance_cache.py runs this file."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from llmcore.errors import CacheError, CacheUnavailable
from llmcore_testing.conformance import CacheConformance
from tests.broken_backends.cache_base import AsyncMemory, Both, Memory


class ReturnsText(Memory):
    """coleifer/walrus#84: text comes back instead of bytes."""

    def get(self, key: str) -> Any:
        found = super().get(key)
        return found if found is None else found.decode("latin-1")


class ReturnsItsOwnBuffer(Memory):
    """tkem/cachetools#184: a caller that changes its value changes the entry."""

    def get(self, key: str) -> Any:
        found = super().get(key)
        return found if found is None else bytearray(found)


class AMissIsEmpty(Memory):
    def get(self, key: str) -> bytes | None:
        return super().get(key) or b""


class TakesEmptyForAMiss(Memory):
    """RaoFoundation/async-substrate-interface#337: a falsy value is taken for a miss."""

    def get(self, key: str) -> bytes | None:
        return super().get(key) or None


class StripsValues(Memory):
    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key, value.strip(), ttl)


class TakesAMegabyteAtMost(Memory):
    """gwhalin/Memcached-Java-Client#11: a value above one megabyte is refused, and no limit is announced."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if len(value) > 2**20:
            raise CacheError("too large")
        super().set(key, value, ttl)


class KeepsTheOlderValue(Memory):
    """django/django#3481: a value that cannot be stored leaves the older one, which is served."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if len(value) > 2**20:
            raise CacheError(f"a value of {len(value)} bytes is too large")
        super().set(key, value, ttl)


class TakesAMegabyteAtMostAndSaysSo(Memory):
    """Correct: a backend may have a limit."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if len(value) > 2**20:
            self.delete(key)
            raise CacheError(f"a value of {len(value)} bytes is too large")
        super().set(key, value, ttl)


class CallsALargeValueAnOutage(Memory):
    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if len(value) > 2**20:
            self.delete(key)
            raise CacheUnavailable(f"a value of {len(value)} bytes is too large")
        super().set(key, value, ttl)


class RefusesAKilobyte(Memory):
    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if len(value) > 1000:
            self.delete(key)
            raise CacheError(f"a value of {len(value)} bytes is too large")
        super().set(key, value, ttl)


class RoundsTtlDown(Memory):
    """giantswarm/mcp-oauth#518: a ttl below a second becomes 0."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key, value, None if ttl is None else int(ttl) if ttl < 30 else ttl)

    def get(self, key: str) -> bytes | None:
        found, ends = self.entries.get(key, (None, None))
        return None if ends is not None and ends - int(ends) and ends - time.monotonic() < 9 else found


class TakesAShortTtlForNone(Memory):
    """grafana/dskit#530: a ttl below a second is truncated to 0, which means for ever."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key, value, int(ttl or 0) or None)


class IgnoresTtl(Memory):
    """joshuaslate/type-cacheable#104: values never expire."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:  # noqa: ARG002 - that is the fault
        super().set(key, value)


class KeepsTheOldTtl(Memory):
    """arangodb/arangodb#8667: a value that replaces another one expires when the old one would have."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        _, ends = self.entries.get(key, (b"", None))
        super().set(key, value, ttl if ttl is not None or ends is None else ends - time.monotonic())


class TakesSecondsForMilliseconds(Memory):
    """havsar/node-ts-cache#23: the ttl is taken in another unit."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key, value, None if ttl is None else ttl / 1000)


class LongTtlOverflows(Memory):
    """danbooru/danbooru#2439: a long ttl is taken for a time stamp in the past."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key, value, None if ttl is None else ttl if ttl < 10**9 else -1)


class KeepsTheFirst(Memory):
    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if self.get(key) is None:
            super().set(key, value, ttl)


class DeleteAlwaysSaysTrue(Memory):
    """matomo-org/component-cache#10: `delete` returns True for what was not there."""

    def delete(self, key: str) -> bool:
        super().delete(key)
        return True


class DeleteReturnsNone(Memory):
    def delete(self, key: str) -> Any:
        super().delete(key)


class DeleteForgetsToDelete(Memory):
    def delete(self, key: str) -> bool:
        return self.get(key) is not None


class DeletesWhatHasExpired(Memory):
    """redis/redis#1677: `delete` counts an entry that has expired."""

    def delete(self, key: str) -> bool:
        with self.lock:
            return self.entries.pop(key, None) is not None


class DeleteTellsEverybodyYes(Memory):
    def delete(self, key: str) -> bool:
        there = self.get(key) is not None
        time.sleep(0.01)
        self.entries.pop(key, None)
        return there


class ClearLeavesWhatHasATtl(Memory):
    def clear(self) -> None:
        self.entries = {key: entry for key, entry in self.entries.items() if entry[1] is not None}


class CutsLongKeys(Memory):
    """rails/rails#45245: long keys are truncated to the limit of the server."""

    def get(self, key: str) -> bytes | None:
        return super().get(key[:500])

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key[:500], value, ttl)


class RefusesLongKeys(Memory):
    """aio-libs/aiocache#308: keys beyond 250 bytes are refused."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if len(key.encode()) > 511:
            raise CacheError("the key is too long")
        super().set(key, value, ttl)


class RefusesManyCallers(Memory):
    """redis/redis-py#2517: many callers at a time get an error of the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.places = threading.Semaphore(4)

    def get(self, key: str) -> bytes | None:
        if not self.places.acquire(blocking=False):
            raise CacheError("too many callers")
        try:
            time.sleep(0.01)
            return super().get(key)
        finally:
            self.places.release()


class NormalisesKeys(Memory):
    def get(self, key: str) -> bytes | None:
        return super().get(unicodedata.normalize("NFC", key))

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(unicodedata.normalize("NFC", key), value, ttl)


class FindsByPrefix(Memory):
    def get(self, key: str) -> bytes | None:
        return next(
            (super(FindsByPrefix, self).get(k) for k in sorted(self.entries) if k.startswith(key)), None
        )


class WritesInPieces(Memory):
    """webisters/cache#2: a reader sees half of a value that is being written."""

    def get(self, key: str) -> bytes | None:
        found = super().get(key)
        return found if found is None else bytes(found)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if len(value) != 50_000:
            return super().set(key, value, ttl)
        buffer: Any = bytearray()
        super().set(key, buffer, ttl)
        for at in range(0, len(value), 12_500):
            buffer += value[at : at + 12_500]
            time.sleep(0.002)
        return None


class LosesWhatIsSetAtOnce(Memory):
    """SCons/scons#4268: of two writes at the same time, one is lost with an error."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        entries = dict(self.entries)
        entries[key] = (value, None if ttl is None else time.monotonic() + ttl)
        time.sleep(0.001)
        self.entries = entries


class KeysTellTheExpired(Both):
    """crystal-cache/cache#40: expired entries are listed."""

    def keys(self) -> Iterator[str]:
        yield from list(self.entries)


class KeysBreakWhenChanged(Both):
    """probabl-ai/skore#2205: the keys change while they are listed, which ends the list with an error."""

    def keys(self) -> Iterator[str]:
        yield from (key for key in self.entries if self.get(key) is not None)


class KeysBearTheNamespace(Both):
    def keys(self) -> Iterator[str]:
        yield from (f"ns:{key}" for key in self.entries if self.get(key) is not None)


class Shared(Memory):
    """A second namespace on the first one's entries, which is to say none."""


class ClearsEverybody(Memory):
    """laravel/framework#13386: `clear` empties the server, not the namespace alone."""

    others: Memory | None = None

    def clear(self) -> None:
        super().clear()
        if self.others is not None:
            self.others.clear()


class HalfAVariant(Memory):
    async def aget(self, key: str) -> bytes | None:
        return self.get(key)


class NoCache:
    def size(self) -> int:
        return 0


class Good(CacheConformance):
    backend: type = Memory

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class Kit(Good):
    expiry_timeout_s = 0.4

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param  # the broken ones have no other


class TestMemory(Good):
    """The one variant."""


class TestTakesAMegabyteAtMostAndSaysSo(Good):
    backend = TakesAMegabyteAtMostAndSaysSo


class TestHalfAVariant(Good):
    backend = HalfAVariant


class TestAsyncMemory(Good):
    backend = AsyncMemory


class TestSharesOneNamespace(Kit):
    @pytest.fixture
    def sibling(self, provider: Any) -> Any:
        other = Shared()
        other.entries = provider.entries
        return other


class TestClearsEverybody(Kit):
    backend = ClearsEverybody

    @pytest.fixture
    def sibling(self, provider: Any) -> Any:
        provider.others = Memory()
        return provider.others


for _backend in (
    ReturnsText, ReturnsItsOwnBuffer, AMissIsEmpty, TakesEmptyForAMiss, StripsValues, TakesAMegabyteAtMost, KeepsTheOlderValue,
    CallsALargeValueAnOutage, RefusesAKilobyte, RoundsTtlDown, TakesAShortTtlForNone, IgnoresTtl, KeepsTheOldTtl, TakesSecondsForMilliseconds,
    LongTtlOverflows, KeepsTheFirst, DeleteAlwaysSaysTrue, DeleteReturnsNone, DeleteForgetsToDelete, DeletesWhatHasExpired, DeleteTellsEverybodyYes,
    ClearLeavesWhatHasATtl, CutsLongKeys, RefusesLongKeys, RefusesManyCallers, NormalisesKeys, FindsByPrefix, WritesInPieces, LosesWhatIsSetAtOnce,
    KeysTellTheExpired, KeysBreakWhenChanged, KeysBearTheNamespace, NoCache,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})


class TestBoth(Good):
    backend = Both
    lacks = ("get_many", "delete_matching", "acquire", "version", "watch", "unavailable")

    @pytest.fixture
    def sibling(self) -> Both:
        return Both()
