"""A full cache keeps the entries in use: the most recent or the most frequent."""

from __future__ import annotations

import itertools
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmcore
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.memory_cache import MemoryCache
from llmcore.builtin.options import FileOptions, MemoryOptions
from llmcore.support.frequencies import Frequencies
from llmcore.types import Size

MB = 10**6
VALUE = b"x" * 1000


class Clock:
    """A clock in nanoseconds that advances by a step with each call."""

    def __init__(self, step: int) -> None:
        self.now = 1_700_000_000 * 10**9
        self.step = step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


def make_cache(folder: Path, *, eviction: Any, clock: Callable[[], int]) -> FileCache:
    options = FileOptions(cache_dir=folder, max_size=Size(2 * MB), eviction=eviction)
    return FileCache(options, clock=clock, chance=random.Random(5).random)  # noqa: S311 - no secret


def draw_zipf(count: int, population: int, *, seed: int = 7) -> list[str]:
    """Return *count* keys, the n-th with frequency 1/n, as digests, so that they are not in order."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    weights = list(itertools.accumulate(1 / rank for rank in range(1, population + 1)))
    return [
        f"{n * 2654435761 % 2**32:08x}"
        for n in chance.choices(range(population), cum_weights=weights, k=count)
    ]


def compute_hit_rate(cache: Any, keys: list[str]) -> float:
    """Return the hit rate of the second half of *keys*. After a miss the key is set, as an application does."""
    hits = 0
    for number, key in enumerate(keys):
        if cache.get(key) is None:
            cache.set(key, VALUE)
        elif number >= len(keys) // 2:
            hits += 1
    return hits / (len(keys) // 2)


def compute_fifo_rate(keys: list[str], room: int) -> float:
    """Return the hit rate of a FIFO cache of *room* entries."""
    kept: dict[str, None] = {}
    hits = 0
    for number, key in enumerate(keys):
        if key in kept:
            hits += number >= len(keys) // 2
            continue
        kept[key] = None
        if len(kept) > room:
            del kept[next(iter(kept))]
    return hits / (len(keys) // 2)


def count_keys(cache: Any) -> int:
    return len(list(cache.keys()))


@pytest.mark.slow
@pytest.mark.parametrize("step_s", [0.001, 1.0, 60.0], ids="a_look_every_{}_s".format)
@pytest.mark.parametrize(("eviction", "gain"), [("lru", 1.06), ("lfu", 1.1)])
def test_the_file_cache_keeps_entries_in_use(
    tmp_path: Path, eviction: str, gain: float, step_s: float
) -> None:
    cache = make_cache(tmp_path / "cache", eviction=eviction, clock=Clock(int(step_s * 10**9)))
    keys = draw_zipf(40_000, 20_000)
    rate = compute_hit_rate(cache, keys)
    baseline = compute_fifo_rate(keys, count_keys(cache))
    assert rate > gain * baseline, f"{rate:.3f}; the oldest first: {baseline:.3f}"
    cache.close()


@pytest.mark.parametrize(("eviction", "gain"), [("lru", 1.06), ("lfu", 1.13)])
def test_the_memory_cache_keeps_entries_in_use(eviction: Any, gain: float) -> None:
    cache = MemoryCache(MemoryOptions(max_size=Size(1_200_000), eviction=eviction))
    keys = draw_zipf(40_000, 20_000)
    rate = compute_hit_rate(cache, keys)
    assert rate > gain * compute_fifo_rate(keys, count_keys(cache))
    assert cache.size_bytes <= 1_200_000


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_lfu_keeps_frequent_entries_when_many_are_used_once(tmp_path: Path, kind: str) -> None:
    survivors: dict[str, int] = {}
    for eviction in ("lru", "lfu"):
        cache: Any
        if kind == "file":
            cache = make_cache(tmp_path / eviction, eviction=eviction, clock=Clock(10**7))
        else:
            cache = MemoryCache(MemoryOptions(max_size=Size(1_200_000), eviction=eviction))
        often = [f"{n * 7919:08x}" for n in range(50)]
        for key in often:
            cache.set(key, VALUE)
        for _ in range(200):
            for key in often:
                cache.get(key)
        for n in range(3000):
            cache.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
        survivors[eviction] = sum(cache.get(key) is not None for key in often)
    assert survivors["lfu"] >= 40
    assert survivors["lru"] <= 10, "these were used longest ago"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_lfu_evicts_entries_that_are_no_longer_frequent(tmp_path: Path, kind: str) -> None:
    cache: Any
    if kind == "file":
        cache = make_cache(tmp_path / "cache", eviction="lfu", clock=Clock(10**7))
    else:
        cache = MemoryCache(MemoryOptions(max_size=Size(1_200_000), eviction="lfu"))
    for _ in range(20):
        for n in range(50):
            if cache.get(f"once {n}") is None:
                cache.set(f"once {n}", VALUE)
    keys = draw_zipf(100_000, 5000)
    compute_hit_rate(cache, keys)
    assert sum(cache.get(f"once {n}") is not None for n in range(50)) <= 5


def test_a_hit_writes_nothing_to_the_data(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", eviction="lfu", clock=Clock(10**9))
    cache.set("key", VALUE)
    before, version = (cache.folder / "data.mdb").read_bytes(), cache.version()
    for _ in range(100):
        cache.get("key")
    assert (cache.folder / "data.mdb").read_bytes() == before
    assert cache.version() == version, "a memory tier in front must not be emptied by hits"
    cache.close()


def test_uses_are_recorded_only_when_entries_may_be_evicted_soon(tmp_path: Path) -> None:
    clock = Clock(10**9)
    cache = make_cache(tmp_path / "cache", eviction="lru", clock=clock)
    cache.set("key", VALUE)

    def is_recorded_after_an_hour() -> bool:
        before = (cache.folder / "use.map").read_bytes()
        clock.now += 3600 * 10**9
        for _ in range(10):
            assert cache.get("key") == VALUE
        return (cache.folder / "use.map").read_bytes() != before

    assert not is_recorded_after_an_hour()
    for n in range(1000):
        cache.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
        assert cache.get("key") == VALUE
    assert is_recorded_after_an_hour()
    cache.close()


def test_uses_of_another_process_count(tmp_path: Path) -> None:
    clock = Clock(10**9)
    one = make_cache(tmp_path / "cache", eviction="lru", clock=clock)
    two = make_cache(tmp_path / "cache", eviction="lru", clock=clock)
    for n in range(400):
        one.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
    used = [f"{n * 2654435761 % 2**32:08x}" for n in range(0, 400, 10)]
    for key in used:
        assert two.get(key) == VALUE
    two.close()
    for n in range(400, 1000):
        one.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
        if n % 100 == 0:
            for key in used:
                one.get(key)
    assert sum(one.get(key) is not None for key in used) > 30
    one.close()


def test_a_lease_survives_the_eviction_of_all_entries_until_it_expires(tmp_path: Path) -> None:
    clock = Clock(1)
    cache = make_cache(tmp_path / "cache", eviction="lru", clock=clock)
    assert cache.acquire("work", "me", 60)
    for n in range(6000):
        cache.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
    assert not cache.acquire("work", "you", 60)
    clock.now += 61 * 10**9
    assert cache.acquire("work", "you", 60)
    cache.close()


def test_a_lease_expires_if_the_clock_is_set_back(tmp_path: Path) -> None:
    clock = Clock(1)
    cache = make_cache(tmp_path / "cache", eviction="lru", clock=clock)
    assert cache.acquire("of one that died", "me", 5)
    clock.now -= 86_400 * 10**9
    assert cache.acquire("of one that died", "you", 5)
    assert not cache.acquire("of one that died", "me", 5)
    clock.now -= 10**8
    assert not cache.acquire("of one that died", "me", 5), "clocks are corrected by a little all the time"
    cache.close()


@pytest.mark.parametrize("damage", [b"", b"\0", b"\xff" * 4096, os.urandom(65_536)], ids=["cut", "byte", "ones", "noise"])  # fmt: skip
def test_damaged_records_of_uses_never_change_values(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "use.map").write_bytes(damage)
    cache = make_cache(folder, eviction="lfu", clock=Clock(10**7))
    for n in range(3000):
        cache.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
        assert cache.get(f"{n * 2654435761 % 2**32:08x}") == VALUE
    assert count_keys(cache) > 400
    cache.close()


def test_a_clock_that_was_wrong_does_not_keep_an_entry_for_ever(tmp_path: Path) -> None:
    clock = Clock(10**7)
    cache = make_cache(tmp_path / "cache", eviction="lru", clock=clock)
    cache.set("key", VALUE)
    clock.now += 86_400 * 10**9
    cache.get("key")
    clock.now -= 86_400 * 10**9
    for n in range(3000):
        cache.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
    assert cache.get("key") is None
    cache.close()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no owners of files")
def test_the_cache_works_without_records_of_uses(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    (folder / "use.map").mkdir(parents=True)
    cache = make_cache(folder, eviction="lfu", clock=Clock(10**7))
    for n in range(2000):
        cache.set(f"key {n}", VALUE)
        assert cache.get(f"key {n}") == VALUE
    cache.close()


def test_the_records_of_uses_are_small_and_private(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", eviction="lru", clock=Clock(10**9))
    found = (cache.folder / "use.map").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size <= 2 * MB // 50
    cache.close()


@given(st.lists(st.tuples(st.sampled_from(["add", "use", "drop", "evict"]), st.integers(0, 6)), max_size=200))
def test_the_least_frequent_key_equals_that_of_a_simple_model(steps: list[tuple[str, int]]) -> None:
    frequencies, age, turn = Frequencies(), 0, 0
    plain: dict[str, tuple[int, int, int]] = {}  # worth, turn, uses
    for step, number in steps:
        key, turn = str(number), turn + 1
        if step == "add" and key not in plain:
            frequencies.add(key)
            plain[key] = age + 1, turn, 1
        elif step == "use" and key in plain:
            frequencies.record_use(key)
            uses = min(plain[key][2] + 1, 16)
            plain[key] = age + uses, turn, uses
        elif step == "drop" and key in plain:
            frequencies.remove(key)
            del plain[key]
        elif step == "evict" and plain:
            key = min(plain, key=lambda one: plain[one])
            assert frequencies.find_least() == key
            frequencies.remove(key)
            age = plain.pop(key)[0]


@pytest.mark.slow
@pytest.mark.parametrize("table", ["cache", "cache.file"])
def test_the_configuration_selects_the_eviction(tmp_path: Path, table: str) -> None:
    rates = []
    for eviction in ("lru", "lfu"):
        cache: dict[str, Any] = {"provider": "file", "memory": 0, "ttl": "never"}
        own: dict[str, Any] = {"cache_dir": str(tmp_path / eviction), "max_size": "2MB"}
        (cache if table == "cache" else own)["eviction"] = eviction
        with llmcore.load({"cache": {**cache, "file": own}}) as core:
            often = [f"often {n}" for n in range(30)]
            for _ in range(60):
                for key in often:
                    if core.cache.get(key) is None:
                        core.cache.set(key, VALUE)
            for n in range(3000):
                core.cache.set(f"{n * 2654435761 % 2**32:08x}", VALUE)
            rates.append(sum(core.cache.get(key) is not None for key in often))
    assert rates[0] <= 5
    assert rates[1] >= 20
