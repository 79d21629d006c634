"""Caches with every ability, good and broken on purpose; test_conformance_cache.py runs this file."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from llmcore_testing.conformance import CacheConformance
from tests.broken_backends.cache_abilities_base import Able, Memory


class AbleInBoth(Able):
    """Correct, sync and async, with every ability."""

    async def aget(self, key: str) -> bytes | None:
        return self.get(key)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.set(key, value, ttl)

    async def adelete(self, key: str) -> bool:
        return self.delete(key)

    async def aclear(self) -> None:
        self.clear()

    async def aget_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return self.get_many(keys)

    async def adelete_matching(self, pattern: str) -> int:
        return self.delete_matching(pattern)

    async def aacquire(self, key: str, holder: str, ttl: float) -> bool:
        return self.acquire(key, holder, ttl)

    async def arelease(self, key: str, holder: str) -> None:
        self.release(key, holder)

    async def aunavailable(self) -> dict[str, str]:
        return self.unavailable()


class Batches(Memory):
    """Correct, with the one ability."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: value for key in keys if (value := self.get(key)) is not None}


class ManyTellsMissesToo(Batches):
    def get_many(self, keys: Sequence[str]) -> Any:
        return {key: self.get(key) for key in keys}


class ManyTellsTheExpired(Batches):
    """bluele/gcache#17: several values at a time include expired ones."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self.entries[key][0] for key in keys if key in self.entries}


class ManyTakesEmptyForAMiss(Batches):
    """anexia/django-request-cache#7: a falsy value is taken for a miss."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: value for key in keys if (value := self.get(key))}


class ManyReturnsPairs(Batches):
    def get_many(self, keys: Sequence[str]) -> Any:
        return list(super().get_many(keys).items())


class ManyReturnsItsOwnBuffer(Batches):
    def get_many(self, keys: Sequence[str]) -> Any:
        return {key: bytearray(value) for key, value in super().get_many(keys).items()}


class ManyTellsValuesInTheirOrder(Batches):
    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return dict(zip(keys, super().get_many(keys).values(), strict=False))


class ManyIsAThousandAtMost(Batches):
    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return super().get_many(keys[:1000])


class ManyUsesUpTheList(Batches):
    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = super().get_many(keys)
        if isinstance(keys, list):
            keys.clear()
        return found


class ManyTakesAListOnly(Batches):
    """SpartnerNL/Laravel-Excel#4432: several keys at a time must be a list."""

    def get_many(self, keys: Any) -> dict[str, bytes]:
        return super().get_many(keys.copy())


class ManySeesEverybody(Batches):
    others: Any = None

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {**({} if self.others is None else self.others.get_many(keys)), **super().get_many(keys)}


class MatchesLikeAShell(Able):
    """jazzband/django-redis#277: `[` in a key is taken as a set of characters."""

    def delete_matching(self, pattern: str) -> int:
        return sum(self.delete(key) for key in self.keys() if fnmatch.fnmatchcase(key, pattern))


class MatchesABackslashAsAnEscape(Able):
    def delete_matching(self, pattern: str) -> int:
        return super().delete_matching(pattern.replace("\\*", "[*]"))


class MatchesOneLineOnly(Able):
    def delete_matching(self, pattern: str) -> int:
        wanted = re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))
        return sum(self.delete(key) for key in self.keys() if wanted.fullmatch(key))


class MatchesBeginnings(Able):
    def delete_matching(self, pattern: str) -> int:
        return super().delete_matching(pattern + "*")


class MatchesAndCountsTheExpired(Able):
    def delete_matching(self, pattern: str) -> int:
        before = len(self.entries)
        super().delete_matching(pattern)
        return before


class LeasesToEverybody(Able):
    """ujeenet/rustango#1254: two callers get the same lease."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        super().acquire(key, holder, ttl)
        return True


class LeasesAreNotRenewed(Able):
    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        return True if self.leases.get(key, ("", 0))[0] == holder else super().acquire(key, holder, ttl)


class LeasesForbidRenewal(Able):
    """vikingco/django-db-locking#6: the holder cannot renew its lease."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        return key not in self.leases and super().acquire(key, holder, ttl)


class LeasesNeverEnd(Able):
    """bbangert/beaker#163: the lease of a holder that died is never free."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:  # noqa: ARG002 - that is the fault
        return super().acquire(key, holder, 10**9)


class LeasesAreReleasedByAnybody(Able):
    """apache/superset#43462: a lease is deleted without a look at its holder."""

    def release(self, key: str, holder: str) -> None:  # noqa: ARG002 - that is the fault
        self.leases.pop(key, None)


class LeasesAreTakenOneAfterAnother(Able):
    """BerriAI/litellm#21225: the owner of a lease is checked before the operation, not with it."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        has, until = self.leases.get(key, (holder, 0.0))
        time.sleep(0.01)
        if has != holder and until > time.monotonic():
            return False
        self.leases[key] = holder, time.monotonic() + ttl
        return True


class LeasesAreEntries(Able):
    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        if super().get(key) not in (None, holder.encode()):
            return False
        self.set(key, holder.encode(), ttl)
        return True

    def release(self, key: str, holder: str) -> None:
        if super().get(key) == holder.encode():
            self.delete(key)


class LeasesGoWithClear(Able):
    """laravel/framework#52375: clearing the cache ends every lease."""

    def clear(self) -> None:
        super().clear()
        self.leases.clear()


class HalfALease(Memory):
    def acquire(self, key: str, holder: str, ttl: float) -> bool:  # noqa: ARG002 - never asked
        return True


class VersionStays(Able):
    def version(self) -> int:
        return len(self.entries)


class VersionCountsReads(Able):
    def get(self, key: str) -> bytes | None:
        self.written += 1
        return super().get(key)


class VersionIgnoresClear(Able):
    def clear(self) -> None:
        self.entries.clear()


class WatchDoesNotBegin(Able):
    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        self.watchers.append(changed)
        return True


class WatchIsDeafToDeletes(Able):
    """m3db/m3cluster#245: who watches does not hear of deletions."""

    def delete(self, key: str) -> bool:
        return Memory.delete(self, key)


class DiagnosisWrites(Able):
    def unavailable(self) -> dict[str, str]:
        self.set("probe", b"")
        return {}


class Good(CacheConformance):
    backend: type = Able

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class Kit(Good):
    expiry_timeout_s = 0.4

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param  # the broken ones have no other


class TestAble(Good):
    """One variant only."""


class TestLacksWhatItHas(Kit):
    lacks = ("version",)


class TestAbleInBoth(Good):
    backend = AbleInBoth
    lacks = ("fork",)  # the twin shares its memory

    @pytest.fixture
    def sibling(self) -> Any:
        return AbleInBoth()

    @pytest.fixture
    def twin(self, provider: Any) -> Any:
        other = AbleInBoth()
        other.__dict__ = provider.__dict__
        return other


class KitOfMany(Kit):
    """Only the tests of batches, because the others take seconds."""


for _name in dir(KitOfMany):
    if _name.startswith("test_") and getattr(getattr(KitOfMany, _name), "ability", None) != "get_many":
        setattr(KitOfMany, _name, None)


class TestManySeesEverybody(KitOfMany):
    backend = ManySeesEverybody

    @pytest.fixture
    def sibling(self, provider: Any) -> Any:
        provider.others = Batches()
        return provider.others


for _many in (
    ManyTellsMissesToo, ManyTellsTheExpired, ManyTakesEmptyForAMiss, ManyReturnsPairs, ManyReturnsItsOwnBuffer,
    ManyTellsValuesInTheirOrder, ManyIsAThousandAtMost, ManyUsesUpTheList, ManyTakesAListOnly,
):  # fmt: skip
    globals()[f"Test{_many.__name__}"] = type(f"Test{_many.__name__}", (KitOfMany,), {"backend": _many})

_DIAGNOSES: dict[str, object] = {
    "DiagnosisIsAList": ["watch"],
    "DiagnosisNamesCommands": {"EVAL": "the user may not run it"},
    "DiagnosisHasNoReason": {"watch": ""},
}

for _backend in (
    MatchesLikeAShell, MatchesABackslashAsAnEscape, MatchesOneLineOnly, MatchesBeginnings,
    MatchesAndCountsTheExpired, LeasesToEverybody, LeasesAreNotRenewed, LeasesForbidRenewal, LeasesNeverEnd,
    LeasesAreReleasedByAnybody, LeasesAreTakenOneAfterAnother, LeasesAreEntries, LeasesGoWithClear, HalfALease,
    VersionStays, VersionCountsReads, VersionIgnoresClear, WatchDoesNotBegin, WatchIsDeafToDeletes,
    DiagnosisWrites,
    *(type(name, (Able,), {"unavailable": lambda _, reason=reason: reason}) for name, reason in _DIAGNOSES.items()),
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
