"""A cache of which one operation fails while the others work: it is reported once, and used as far as it works."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmcore.cache import CacheManager
from llmcore.cache.health import MAX_CAUSES, QUIET_S, Health
from llmcore.cache.store import CacheStore
from llmcore.calls.backend import Backend
from llmcore.errors import CacheError, CacheUnavailable
from llmcore.hookspecs import Options, Provider
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.cli import CommandLine

Call = Callable[..., Any]

PLUGIN = """
from llmcore.errors import CacheError
from llmcore.hookspecs import Provider, hookimpl
LLMCORE_API = 1
kept = {}
class Cache:
    def get(self, key): raise CacheError("reading is not allowed")
    def set(self, key, value, ttl=None): kept[key] = value
    def delete(self, key): return kept.pop(key, None) is not None
    def clear(self): kept.clear()
    def unavailable(self): return {"clear": "this user may not clear"}
@hookimpl
def llmcore_cache_providers():
    yield Provider(name="half", create=lambda options: Cache())
"""


class Partial:
    """A cache in which the operations that `errors` names fail."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.errors: dict[str, Exception] = {}
        self.asked: list[str] = []

    def get(self, key: str) -> bytes | None:
        self._ask("get")
        return self.kept.get(key)

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        self._ask("get_many")
        return {key: self.kept[key] for key in keys if key in self.kept}

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

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        del key, holder, ttl
        self._ask("acquire")
        return True

    def release(self, key: str, holder: str) -> None:
        del key, holder
        self._ask("release")

    def _ask(self, operation: str) -> None:
        self.asked.append(operation)
        if operation in self.errors:
            raise self.errors[operation]


class NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return Options()


@pytest.fixture
def partial() -> Partial:
    return Partial()


@pytest.fixture
def cache(partial: Partial) -> Iterator[CacheManager]:
    entry = Provider(name="partial", create=lambda _: partial)
    with CacheManager(store=CacheStore(Backend("cache", entry, NoOptions()))) as cache:
        yield cache


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, cache: CacheManager) -> Call:
    if request.param == "sync":
        return lambda name, *args: getattr(cache, name)(*args)

    async def await_method(name: str, *args: Any) -> Any:
        return await getattr(cache, "a" + name)(*args)

    return lambda name, *args: asyncio.run(await_method(name, *args))


def list_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_reads_that_fail_open_the_breaker_although_writes_succeed(
    partial: Partial, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    partial.errors["get"] = CacheError("reading is not allowed")
    for number in range(20):
        assert call("get", "key") is None
        call("set", "key", number)
    assert partial.asked.count("get") == 3
    assert partial.asked.count("set") == 2, "the breaker must open for a cache that cannot be read"
    assert list_warnings(caplog) == [
        "cache `partial` fails at `get`, calls go on without it: reading is not allowed"
    ]
    assert call("get_unavailable") == {"get": "reading is not allowed"}


@pytest.mark.parametrize("operation", ["delete", "get_many"])
def test_another_operation_that_fails_is_reported_once_and_stops_no_reads(
    partial: Partial, call: Call, caplog: pytest.LogCaptureFixture, operation: str
) -> None:
    arguments = {"delete": "other", "get_many": ["key", "other"]}
    call("set", "key", 1)
    partial.errors[operation] = CacheError("not allowed")
    for _ in range(10):
        call(operation, arguments[operation])
        assert call("get", "key") == 1
    assert list_warnings(caplog) == [
        f"cache `partial` fails at `{operation}`, calls go on without it: not allowed"
    ]
    assert call("get_unavailable") == {operation: "not allowed"}
    del partial.errors[operation]
    call(operation, arguments[operation])
    assert call("get_unavailable") == {}


def test_a_refused_lease_is_reported_once_and_results_are_cached(
    partial: Partial, cache: CacheManager, caplog: pytest.LogCaptureFixture
) -> None:
    partial.errors["acquire"] = CacheError("this user may not run EVAL")

    @cache.cached()
    def double(x: int) -> int:
        return 2 * x

    assert [double(x) for x in (1, 2, 3, 4, 1, 2, 3, 4)] == [2, 4, 6, 8] * 2
    assert cache.get_stats()["hits"] == 4
    assert list_warnings(caplog) == [
        "cache `partial` fails at `acquire`, calls go on without it: this user may not run EVAL"
    ]


def test_each_cause_is_reported(partial: Partial, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    for cause in ("full", "full", "too large", "too large", "full"):
        partial.errors["set"] = CacheError(cause)
        call("set", "key", 1)
    assert [line.rpartition(": ")[2] for line in list_warnings(caplog)] == ["full", "too large"]


def test_reads_that_fail_by_turns_leave_the_cache_in_use(
    partial: Partial, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    call("set", "key", 1)
    for _ in range(9):
        partial.errors["get"] = CacheError("odd")
        assert [call("get", "key"), call("get", "key")] == [None, None]
        partial.errors.clear()
        assert call("get", "key") == 1
    assert len(list_warnings(caplog)) == 1


def test_an_unreachable_server_opens_the_breaker_in_every_operation(partial: Partial, call: Call) -> None:
    partial.errors["set"] = CacheUnavailable("down")
    call("set", "key", 1)
    call("get", "key")
    assert partial.asked == ["set"]


def test_causes_are_remembered_within_bounds_and_reported_again_after_a_while() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    assert all(health.record_failure("set", f"cause {n}") for n in range(MAX_CAUSES + 1))
    assert not health.record_failure("set", f"cause {MAX_CAUSES}")
    assert health.record_failure("set", "cause 0"), "the oldest is forgotten"
    health.record_success("set")
    assert not health.record_failure("set", "cause 0"), "it comes and goes"
    now[0] += QUIET_S
    assert not health.record_failure("set", "cause 0"), "it has failed since"
    health.record_success("set")
    assert health.record_failure("set", "cause 0")


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
def test_a_redis_user_who_may_write_and_not_read_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path) as server:
        server.ask("ACL", "SETUSER", "writer", "on", ">pass", "~*", "&*", "+@all", "-getrange")
        url = server.url.replace("redis://", "redis://writer:pass@")
        with CacheManager("redis", url=url, timeout=5, connect_timeout=5) as cache:
            for number in range(20):
                cache.get(f"key {number}")
                cache.set(f"key {number}", number)
            assert "get" in cache.get_unavailable()
    (line,) = list_warnings(caplog)
    assert line.startswith("cache `redis` fails at `get`, calls go on without it: ")
    assert cache.get_stats()["errors"] == 3


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    command = CommandLine(tmp_path)
    command.install("llmcore-half", {"llmcore.cache": "half = llmcore_half"}, {"llmcore_half": PLUGIN})
    (tmp_path / "llmcore.toml").write_text('[cache]\nprovider = "half"\n')
    return command


def test_cache_stats_names_the_operations_that_fail(cli: CommandLine) -> None:
    done = cli("cache", "stats", "--json")
    reasons = {"get": "reading is not allowed", "clear": "this user may not clear"}
    assert json.loads(done.stdout)["unavailable"] == reasons
    assert "fails      `get` is unavailable: reading is not allowed\n" in cli("cache", "stats").stdout


def test_doctor_names_the_operations_that_fail(cli: CommandLine) -> None:
    done = cli("doctor", "--json", LLMCORE_PLUGINS="half")
    found = [each for each in json.loads(done.stdout)["findings"] if "unavailable" in each["text"]]
    assert [(each["what"], each["ok"], each["text"]) for each in found] == [
        ("cache half", False, "`get` is unavailable: reading is not allowed"),
        ("cache half", False, "`clear` is unavailable: this user may not clear"),
    ]
    assert done.returncode == 6
