"""The memory tier during an outage of the shared cache: which entries it serves, for how long, and the reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmcore
from llmcore.cache import CacheManager
from llmcore.cache.outage import MAX_STALE_S
from llmcore.errors import CacheError, ConfigError
from tests.kits.cache_outage import Link, Server, make_cache
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.slow

Call = Callable[..., Any]


@pytest.fixture(params=["reports", "versions"])
def server(request: pytest.FixtureRequest) -> Server:
    """Return a cache that several processes share: one reports changes as Redis does, one counts them as a file does."""
    return Server(tells=request.param)


@pytest.fixture
def link(server: Server) -> Link:
    return server.connect()


@pytest.fixture
def cache(server: Server, link: Link) -> Iterator[CacheManager]:
    with make_cache(link, clock=server.clock) as cache:
        yield cache


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, cache: CacheManager) -> Call:
    if request.param == "sync":
        return lambda name, *args, **named: getattr(cache, name)(*args, **named)

    async def await_method(name: str, *args: Any, **named: Any) -> Any:
        return await getattr(cache, "a" + name)(*args, **named)

    return lambda name, *args, **named: asyncio.run(await_method(name, *args, **named))


def reconnect(link: Link, cache: CacheManager) -> None:
    """Have the server answer again, and wait until the cache uses it."""
    link.repair()
    wait_until(lambda: cache.set("reconnected", 1))


def test_entries_from_before_are_served_for_60_seconds(server: Server, link: Link, call: Call) -> None:
    call("set", "key", "value")
    assert call("get", "key") == "value"
    link.cut()
    assert [call("get", "key"), call("get", "other"), call("get", "key")] == ["value", None, "value"]
    server.now += MAX_STALE_S - 1
    assert call("get", "key") == "value"
    assert call("get_many", ["key", "other"]) == {"key": "value"}
    server.now += 1
    assert call("get", "key") is None
    assert call("get_many", ["key", "other"]) == {}


def test_the_first_call_that_fails_is_answered_from_memory(link: Link, call: Call) -> None:
    call("set", "key", "value")
    assert call("get", "key") == "value"
    link.asked.clear()
    link.cut()
    assert call("get", "key") == "value"
    assert link.asked.count("get") <= 1


def test_entries_made_meanwhile_are_served_until_their_ttl(server: Server, link: Link, call: Call) -> None:
    link.cut()
    assert not call("set", "key", "value", ttl=300), "the backend has not taken it"
    call("set", "for ever", 1)
    server.now += 299
    assert [call("get", "key"), call("get", "for ever")] == ["value", 1]
    server.now += 1
    assert [call("get", "key"), call("get", "for ever")] == [None, 1]


def test_an_older_value_does_not_follow_one_whose_ttl_is_over(server: Server, link: Link, call: Call) -> None:
    call("set", "key", "older")
    assert call("get", "key") == "older"
    link.cut()
    call("set", "key", "newer", ttl=10)
    assert call("get", "key") == "newer"
    server.now += 10
    assert call("get", "key") is None


def test_tagged_entries_made_meanwhile_outlive_the_older_ones(server: Server, link: Link, call: Call) -> None:
    call("set", "older", 1, tags="tag")
    assert call("get", "older") == 1
    link.cut()
    call("set", "made", 2, tags="tag")
    server.now += MAX_STALE_S
    assert [call("get", "older"), call("get", "made")] == [None, 2]
    with pytest.raises(CacheError):
        call("invalidate", tags="tag")
    assert call("get", "made") is None


def test_an_outage_that_begins_with_an_invalidation_has_a_tier(link: Link, call: Call) -> None:
    link.cut()
    with pytest.raises(CacheError):
        call("invalidate", "user:*")
    call("set", "key", 1)
    assert call("get", "key") == 1


@pytest.mark.parametrize("server", ["versions"], indirect=True)
def test_the_60_seconds_begin_when_the_version_was_last_read(server: Server, link: Link, call: Call) -> None:
    call("set", "key", "old")
    assert call("get", "key") == "old"
    link.cut()
    server.now += MAX_STALE_S
    call("delete", "other")
    assert call("get", "key") is None


@pytest.mark.parametrize("server", ["reports"], indirect=True)
def test_entries_are_dropped_when_reports_begin_again(link: Link, cache: CacheManager) -> None:
    cache.set("key", "old")
    assert cache.get("key") == "old"
    link.cut()
    assert cache.get("key") == "old"
    link.refused.add("get")
    link.repair()
    assert cache.get("key") is None, "anything may have been written since"


def test_an_invalidation_during_the_repetition_is_repeated_too(link: Link, cache: CacheManager) -> None:
    cache.set_many({"one": 1, "two": 2})
    link.cut()
    cache.delete("one")
    seen: list[Any] = []

    def forget_another() -> None:
        link.at_delete = None
        cache.delete("two")
        seen.append(cache.get("two"))

    link.at_delete = forget_another
    reconnect(link, cache)
    wait_until(lambda: not {"v:one", "v:two"} & set(link.server.kept))
    assert seen == [None]
    assert cache.get("two") is None


def test_the_tier_is_dropped_on_reconnect(
    server: Server, link: Link, call: Call, cache: CacheManager
) -> None:
    call("set", "key", "old")
    assert call("get", "key") == "old"
    link.cut()
    assert call("get", "key") == "old"
    with make_cache(server.connect()) as other:
        other.set("key", "new")
    call("set", "made", "meanwhile")
    reconnect(link, cache)
    assert [call("get", "key"), call("get", "made")] == ["new", None]


def test_a_value_set_during_an_outage_is_not_replaced_by_an_older_one(
    link: Link, call: Call, cache: CacheManager
) -> None:
    call("set", "key", "old")
    link.cut()
    call("set", "key", "new")
    assert call("get", "key") == "new"
    reconnect(link, cache)
    assert call("get", "key") is None


@pytest.mark.parametrize("how", ["pattern", "tags", "everything", "key"])
def test_an_invalidation_is_repeated_before_anything_is_read_again(
    server: Server, link: Link, call: Call, how: str, cache: CacheManager
) -> None:
    call("set", "user:1", "old", tags="users")
    call("set", "user:2", "old", tags="users")
    assert call("get", "user:1") == "old"
    link.cut()
    call("get", "something")
    if how == "key":
        assert call("delete", "user:1"), "it would have been served"
    else:
        arguments = {"pattern": ("user:*",), "everything": ()}.get(how, ())
        with pytest.raises(CacheError) as raised:
            call("invalidate", *arguments, **({"tags": "users"} if how == "tags" else {}))
        assert any("before its next read" in note for note in raised.value.notes)
    assert call("get", "user:1") is None, "memory forgets at once"
    link.asked.clear()
    reconnect(link, cache)
    assert call("get", "user:1") is None
    with make_cache(server.connect()) as other:
        assert other.get("user:1") is None, "the backend has forgotten it"
        assert other.get("user:2") == ("old" if how == "key" else None)


def test_a_failing_invalidation_that_begins_the_outage_is_repeated_too(
    link: Link, call: Call, cache: CacheManager
) -> None:
    call("set", "key", "old", tags=["a", "b"])
    call("set", "other", "old", tags="b")
    link.cut()
    with pytest.raises(CacheError):
        call("invalidate", tags=["a", "b"])
    reconnect(link, cache)
    assert [call("get", "key"), call("get", "other")] == [None, None], "each tag, not the first one only"


@pytest.mark.slow
def test_the_breaker_stays_open_until_the_invalidations_are_repeated(link: Link, cache: CacheManager) -> None:
    cache.set("key", "old")
    assert cache.get("key") == "old"
    link.cut()
    cache.delete("key")
    link.refused.add("delete")
    link.repair(reports=False)
    wait_until(lambda: link.asked.count("delete") > 2)
    assert cache.get("key") is None
    link.refused.clear()
    wait_until(lambda: "v:key" not in link.server.kept)
    assert cache.get("key") is None


def test_with_on_outage_miss_every_look_up_misses(server: Server, link: Link) -> None:
    with make_cache(link, clock=server.clock, on_outage="miss") as cache:
        cache.set("key", "value")
        assert cache.get("key") == "value"
        link.cut()
        assert [cache.get("key"), cache.set("key", 1), cache.get("key")] == [None, False, None]


def test_with_miss_too_the_tier_is_dropped_on_reconnect(link: Link) -> None:
    with make_cache(link, on_outage="miss") as cache:
        cache.set("key", "value")
        assert cache.get("key") == "value"
        link.refused.add("get")
        for _ in range(3):
            assert cache.get("nothing") is None
        link.refused.clear()
        wait_until(lambda: cache.get("key") is not None)
        assert link.asked[-1] == "get"


def test_a_cached_function_runs_once_during_an_outage(link: Link, cache: CacheManager) -> None:
    runs: list[int] = []

    @cache.cached(ttl=60, tags="all")
    def double(x: int) -> int:
        runs.append(x)
        return 2 * x

    assert [double(1), double(1)] == [2, 2]
    link.cut()
    assert [double(1), double(2), double(2), double(1)] == [2, 4, 4, 2]
    assert runs == [1, 2]
    with pytest.raises(CacheError):
        double.invalidate()
    assert [double(1), double(1)] == [2, 2]
    assert runs == [1, 2, 1]
    double.refresh(1)
    reconnect(link, cache)
    double(1)
    assert runs == [1, 2, 1, 1, 1], "the older result does not come back"


def test_entries_of_before_and_during_the_outage_share_the_size_of_the_tier(link: Link) -> None:
    value = b"x" * 1000
    with make_cache(link, memory=20_000) as cache:
        for number in range(10):
            cache.set(f"before {number}", value)
        link.cut()
        for number in range(100):
            cache.set(f"during {number}", value)
            assert cache.get(f"during {number}") == value
        kept = [n for n in range(100) if cache.get(f"during {n}") is not None]
        assert 10 <= len(kept) <= 15, "the newest, as many as fit"
        assert not any(cache.get(f"before {n}") for n in range(10))
        assert not cache.set("large", b"x" * 30_000)
        assert cache.get("large") is None


@pytest.mark.parametrize("server", ["reports"], indirect=True)
def test_lost_reports_are_not_an_outage_while_the_backend_answers(server: Server) -> None:
    link = server.connect()
    with make_cache(link, clock=server.clock) as cache, make_cache(server.connect()) as other:
        cache.set("key", "old")
        assert cache.get("key") == "old"
        link.lose_reports()
        other.set("key", "new")
        assert cache.get("key") == "new"
        link.cut()
        assert cache.get("key") is None, "the older value must not follow the newer one"
        link.repair()


@pytest.mark.parametrize("server", ["reports"], indirect=True)
def test_the_60_seconds_begin_when_reports_are_lost(server: Server) -> None:
    link = server.connect()
    with make_cache(link, clock=server.clock) as cache:
        cache.set("key", "old")
        assert cache.get("key") == "old"
        link.lose_reports()
        server.now += 50
        link.cut()
        assert cache.get("key") == "old"
        server.now += 10
        assert cache.get("key") is None


@pytest.mark.parametrize("server", ["reports"], indirect=True)
def test_changes_that_are_reported_during_an_outage_are_heard(link: Link) -> None:
    with make_cache(link) as cache, make_cache(link.server.connect()) as other:
        cache.set_many({"key": "old", "kept": 1})
        assert [cache.get("key"), cache.get("kept")] == ["old", 1]
        link.refused.add("get")
        for _ in range(3):
            assert cache.get("nothing") is None
        assert [cache.get("key"), cache.get("kept")] == ["old", 1]
        other.set("key", "new")
        assert [cache.get("key"), cache.get("kept")] == [None, 1]


def test_lost_invalidations_are_logged(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    with make_cache(link) as cache:
        cache.set("key", 1)
        link.cut()
        cache.delete("key")
        cache.set("other", 1)
    (line,) = [record.getMessage() for record in caplog.records if "closed" in record.getMessage()]
    assert "1 invalidations are lost" in line


def test_a_wrong_word_is_refused() -> None:
    with pytest.raises(ConfigError, match='on_outage must be "memory" or "miss", got \'memry\''):
        CacheManager("memory", on_outage="memry")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="on_outage"):
        llmcore.load({"cache": {"on_outage": "memry"}})
