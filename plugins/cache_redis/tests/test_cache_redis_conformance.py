"""`CacheConformance` and the abilities against real servers: standalone, with Sentinels, in a Cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from msgspec import structs

from llmcore.support.limit_values import (
    LimitScope,
    PermitRequest,
    PermitReturn,
    ProcessReport,
    ScopeReport,
)
from llmcore.types import Duration, Secret
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing import CacheConformance, RateLimitConformance, TcpProxy
from llmcore_testing.redis_server import (
    RedisServer,
    find_redis_server,
    redis_cluster,
    redis_server_version,
    redis_under_sentinels,
)

PATIENT = Duration(5)
SHORT = Duration(1.5)
needs_server = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
needs_seven = pytest.mark.skipif(
    redis_server_version() < (7,), reason="no redis-server of version 7 or newer"
)


def cache(url: str, **options: Any) -> RedisCache:
    return RedisCache(RedisOptions(url=url, **{"timeout": PATIENT, "connect_timeout": PATIENT, **options}))


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis"), password="pa:ss") as server:  # noqa: S106 - of this server
        yield server.url.replace("pa:ss", "pa%3Ass")


@pytest.fixture(scope="module")
def unix_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("s")
    with RedisServer(folder, unixsocket=str(folder / "s")):
        yield f"unix://{folder}/s?db=3"


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_under_sentinels(tmp_path_factory.mktemp("redis")) as servers:
        yield servers.url


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("redis")) as nodes:
        yield f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}"


class OnServers(CacheConformance):
    """Tests for all three kinds of servers. The cache is emptied before each test."""

    lacks: ClassVar[tuple[str, ...]] = ("version", "twin", "broken", "denied", "restricted", "canary")

    @pytest.fixture
    def provider(self, url: str) -> RedisCache:
        provider = cache(url)
        provider.clear()
        provider.close()
        return provider

    @pytest.fixture
    def sibling(self, url: str) -> RedisCache:
        sibling = cache(url, namespace="default:v1")
        sibling.clear()
        sibling.close()
        return sibling

    def test_many_values_come_at_once(self) -> None:
        self.needs("get_many")
        wanted = {f"key {i}": b"value" * i for i in range(150)}
        for key, value in wanted.items():
            self.call("set", key, value)
        self.call("set", "large", b"x" * 300_000)
        found = self.call("get_many", [*wanted, "missing", "large", "key 1"])
        assert found == {**wanted, "large": b"x" * 300_000}
        assert self.call("get_many", []) == {}

    @pytest.mark.parametrize(
        ("pattern", "forgotten"),
        [
            ("user:*", ["user:1", "user:22", "user:[3]"]),
            ("user:?", ["user:1"]),
            ("user:[3]", ["user:[3]"]),
            ("\u043a?\u044e\u0447", ["\u043a\u043b\u044e\u0447"]),
            ("a\\*b", ["a\\b", "a\\xb"]),
            ("none*", []),
            ("*", ["user:1", "user:22", "user:[3]", "\u043a\u043b\u044e\u0447", "a\\b", "a\\xb", "3", "line\nline"]),
            ("line*line", ["line\nline"]),
        ],
    )  # fmt: skip
    def test_delete_matching_deletes_the_matching_keys(self, pattern: str, forgotten: list[str]) -> None:
        everything = ["user:1", "user:22", "user:[3]", "\u043a\u043b\u044e\u0447", "a\\b", "a\\xb", "3", "line\nline"]  # fmt: skip
        for key in everything:
            self.call("set", key, b"value")
        assert self.call("delete_matching", pattern) == len(forgotten)
        left = [key for key in everything if self.call("get", key) is not None]
        assert left == [key for key in everything if key not in forgotten]

    def test_a_lease_has_one_holder_and_is_not_an_entry(self) -> None:
        assert self.call("acquire", "work", "one", 60.0) is True
        assert self.call("acquire", "work", "one", 60.0) is True, "its holder may renew it"
        assert self.call("acquire", "work", "two", 60.0) is False
        assert self.call("get", "work") is None
        assert list(self.caller.provider.keys()) == []
        self.call("clear")
        assert self.call("acquire", "work", "two", 60.0) is False, "clear must not remove leases"
        self.call("release", "work", "two")
        assert self.call("acquire", "work", "two", 60.0) is False, "only its holder gives it back"
        self.call("release", "work", "one")
        assert self.call("acquire", "work", "two", 0.05) is True
        assert self._wait_until(lambda: self.call("acquire", "work", "three", 60.0))
        self.call("release", "work", "three")

    def test_of_concurrent_callers_exactly_one_gets_the_lease(self) -> None:
        answers = self.together([("acquire", "rare", f"holder {i}", 60.0) for i in range(16)])
        assert answers.count(True) == 1
        self.call("release", "rare", f"holder {answers.index(True)}")


@needs_server
class TestStandalone(OnServers):
    lacks = ("version", "restricted")

    @pytest.fixture
    def twin(self, url: str) -> RedisCache:
        return cache(url)

    @pytest.fixture
    def url(self, standalone: str) -> str:
        return standalone

    @pytest.fixture
    def upstream(self, standalone: str) -> Iterator[TcpProxy]:
        with TcpProxy(standalone) as proxy:
            yield proxy

    @pytest.fixture
    def broken(self, upstream: TcpProxy, standalone: str) -> RedisCache:
        password = standalone.rpartition("@")[0]
        return cache(f"{password}@{upstream.address}/0", timeout=SHORT, connect_timeout=SHORT)

    @pytest.fixture
    def denied(self, standalone: str) -> RedisCache:
        return cache(standalone, password=Secret("wrong-canary"))

    @pytest.fixture
    def canary(self) -> str:
        return "wrong-canary"


@needs_server
class TestOnAUnixSocket(OnServers):
    @pytest.fixture
    def url(self, unix_socket: str) -> str:
        return unix_socket


@needs_server
class TestRateLimits(RateLimitConformance):
    lacks = ("canary",)

    @pytest.fixture
    def provider(self, standalone: str) -> RedisCache:
        return cache(standalone, limit_timeout=PATIENT)

    @pytest.fixture
    def twin(self, standalone: str) -> RedisCache:
        return cache(standalone, limit_timeout=PATIENT)


@needs_seven
class TestSentinel(OnServers):
    @pytest.fixture
    def url(self, sentinels: str) -> str:
        return sentinels


@needs_seven
class TestCluster(OnServers):
    @pytest.fixture
    def url(self, cluster: str) -> str:
        return cluster


@needs_seven
def test_rate_limits_work_in_a_cluster(cluster: str) -> None:
    made = cache(cluster, limit_timeout=PATIENT)
    for provider in ("openai", "anthropic", "echo"):  # each has all of its keys in one slot
        scopes = (LimitScope(f"{provider}:m", 60, 600, 1), LimitScope(provider, 60, 600, 2))
        request = PermitRequest("p:1", provider, scopes, 5, 60.0, 60.0)
        answer = made.request_permit(request, 60)
        assert answer.granted
        assert not made.request_permit(structs.replace(request, id="p:2"), 60).granted
        report = ProcessReport("p", provider, tuple(ScopeReport(scope, ("p:1",)) for scope in scopes), 60.0)
        assert made.report_process(report) == 1
        made.return_permits([PermitReturn("p:1", provider, scopes, 5, answer.ticket, 5)])
    made.close()
