"""The cache below calls: a memory tier that is never wrong, and a circuit breaker for a failing backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmcore.cache.invalidation import EVERYTHING
from llmcore.cache.store import CacheStore
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import run
from llmcore.errors import CacheError, CacheUnavailable
from llmcore.hookspecs import Options, Provider
from tests.kits.waiting import wait_until


class Fake:
    """A third-party cache: a dict that a test controls."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None

    def get(self, key: str) -> bytes | None:
        self._ask("get")
        return self.kept.get(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        del ttl
        self._ask("set")
        self.kept[key] = value

    def delete(self, key: str) -> bool:
        self._ask("delete")
        return self.kept.pop(key, None) is not None

    def clear(self) -> None:
        self._ask("clear")
        self.kept.clear()

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error


class Counting(Fake):
    """Counts its writes, as a file can."""

    writes = 0

    def version(self) -> int:
        return self.writes

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        super().set(key, value, ttl)
        self.writes += 1

    def delete(self, key: str) -> bool:
        self.writes += 1
        return super().delete(key)


class Reporting(Fake):
    """Reports changes, as a server can."""

    changed: Callable[[Sequence[str] | None], None]

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        self.changed = changed
        return True


class NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return Options()


def make_store(provider: object, memory: int = 10**6) -> CacheStore:
    entry = Provider(name="fake", create=lambda _: provider)
    return CacheStore(Backend("cache", entry, NoOptions()), memory=memory)


@pytest.fixture
def counting() -> Any:
    return Counting()


@pytest.fixture
def reporting() -> Any:
    return Reporting()


class TestTier:
    def test_a_cache_without_reports_has_no_memory_tier(self) -> None:
        fake = Fake()
        store = make_store(fake)
        run(store.keep("k", b"v"))
        assert [run(store.lookup("k")) for _ in range(3)] == [b"v"] * 3
        assert fake.asked == ["set", "get", "get", "get"]

    def test_the_memory_tier_returns_values_that_were_read_or_written(self, counting: Counting) -> None:
        store = make_store(counting)
        run(store.keep("k", b"v"))
        other = make_store(counting)
        assert [run(store.lookup("k")), run(other.lookup("k")), run(other.lookup("k"))] == [b"v"] * 3
        assert counting.asked == ["set", "get"]

    def test_a_memory_size_of_0_turns_the_tier_off(self, counting: Counting) -> None:
        store = make_store(counting, memory=0)
        run(store.keep("k", b"v"))
        run(store.lookup("k"))
        assert counting.asked == ["set", "get"]

    @pytest.mark.parametrize("write", ["set", "delete"])
    def test_another_processs_write_is_seen_at_once(self, counting: Counting, write: str) -> None:
        here, there = make_store(counting), make_store(counting)
        run(here.keep("k", b"old"))
        assert run(here.lookup("k")) == b"old"
        run(there.keep("k", b"new") if write == "set" else there.forget("k"))
        assert run(here.lookup("k")) == (b"new" if write == "set" else None)

    def test_a_write_by_another_in_the_middle_of_a_read_is_not_covered_up(self, counting: Counting) -> None:
        here, there = make_store(counting), make_store(counting)
        run(there.keep("k", b"old"))
        read = here.lookup("k")
        step = next(read)
        while step.args[0] != "k":
            step = read.send(step.blocking(*step.args))
        old = step.blocking(*step.args)
        run(there.keep("k", b"new"))
        with pytest.raises(StopIteration):
            read.send(old)
        assert run(here.lookup("k")) == b"new"

    def test_the_memory_tier_is_not_used_before_reports_begin(self, reporting: Reporting) -> None:
        store = make_store(reporting)
        run(store.keep("k", b"v"))
        run(store.lookup("k"))
        assert reporting.asked == ["set", "get"]
        reporting.changed([])
        run(store.lookup("k"))
        run(store.lookup("k"))
        assert reporting.asked == ["set", "get", "get"]

    def test_a_reported_change_is_seen(self, reporting: Reporting) -> None:
        store = make_store(reporting)
        run(store.lookup("k"))
        reporting.changed([])
        run(store.keep("k", b"old"))
        run(make_store(reporting, memory=0).keep("k", b"new"))
        reporting.changed(["k"])
        assert run(store.lookup("k")) == b"new"

    def test_lost_reports_empty_it(self, reporting: Reporting) -> None:
        store = make_store(reporting)
        run(store.lookup("k"))
        reporting.changed([])
        run(store.keep("k", b"v"))
        reporting.kept.clear()
        reporting.changed(None)
        assert run(store.lookup("k")) is None

    def test_between_lost_reports_and_new_ones_nothing_is_trusted(self, reporting: Reporting) -> None:
        store = make_store(reporting)
        run(store.lookup("k"))
        reporting.changed([])
        reporting.changed(None)
        run(store.keep("k", b"v"))
        reporting.kept.clear()
        assert run(store.lookup("k")) is None

    def test_an_entrys_time_is_over_in_the_tier_as_well(self, counting: Counting) -> None:
        store = make_store(counting)
        run(store.keep("k", b"v", 0.05))
        assert run(store.lookup("k")) == b"v"
        wait_until(lambda: run(store.lookup("k")) is None)

    def test_clearing_the_cache_clears_it(self, counting: Counting) -> None:
        store = make_store(counting)
        run(store.keep("k", b"v"))
        run(store.invalidate(EVERYTHING))
        assert run(store.lookup("k")) is None


class TestBreaker:
    def test_a_cache_that_cannot_be_reached_is_left_alone_at_once(self) -> None:
        fake = Fake()
        fake.error = CacheUnavailable("down")
        store = make_store(fake)
        assert [run(store.lookup("k")), run(store.keep("k", b"v")), run(store.lookup("k"))] == [
            None,
            False,
            None,
        ]
        assert fake.asked == ["get"]
        assert store.stats.as_dict()["errors"] == 1

    def test_a_cache_that_rejects_writes_is_logged_once_and_still_read(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake = Fake()
        store = make_store(fake)
        run(store.keep("k", b"v"))
        fake.error = CacheError("too large")
        assert [run(store.keep("k", b"v")) for _ in range(10)] == [False] * 10
        fake.error = None
        assert run(store.lookup("k")) == b"v"
        assert store.stats.errors == 10
        assert [record.getMessage() for record in caplog.records] == [
            "cache `fake` refuses to store a value, calls go on: too large"
        ]

    def test_one_that_fails_otherwise_is_left_alone_after_three_in_a_row(self) -> None:
        fake = Fake()
        fake.error = CacheError("something odd")
        store = make_store(fake)
        for _ in range(5):
            run(store.lookup("k"))
        assert fake.asked == ["get"] * 3

    def test_a_success_in_between_begins_the_count_again(self) -> None:
        fake = Fake()
        store = make_store(fake)
        for _ in range(3):
            fake.error = CacheError("something odd")
            run(store.lookup("k"))
            run(store.lookup("k"))
            fake.error = None
            run(store.lookup("k"))
        assert fake.asked == ["get"] * 9

    def test_it_is_used_again_when_it_answers_and_each_change_is_one_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake = Fake()
        fake.error = CacheUnavailable("down")
        store = make_store(fake)
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                run(store.lookup("k"))
            fake.error = None
            wait_until(lambda: run(store.keep("k", b"v")))
        assert run(store.lookup("k")) == b"v"
        assert [record.getMessage() for record in caplog.records] == [
            "cache `fake` fails, calls go on without it: down",
            "cache `fake` works again",
        ]

    def test_an_exception_of_another_library_is_handled_like_any_other(self) -> None:
        fake = Fake()
        fake.error = KeyError("bug")
        store = make_store(fake)
        assert run(store.lookup("k")) is None
        assert store.stats.as_dict()["errors"] == 1

    @pytest.mark.parametrize(
        "poison", [b"", b"x", b"garbage that is long enough", b"llm1", b"cos\nsystem\n(S'x'\ntR."]
    )
    def test_a_foreign_value_is_a_miss(self, poison: bytes) -> None:
        fake = Fake()
        fake.kept["k"] = poison
        assert run(make_store(fake).lookup("k")) is None

    def test_one_that_cannot_even_be_opened_is_outlived(self, tmp_path: Path) -> None:
        from llmcore.cache import CacheManager

        (tmp_path / "file").write_text("no folder")
        cache = CacheManager("file", cache_dir=str(tmp_path / "file"))
        assert cache.get("k") is None
        assert not cache.set("k", 1)
