"""What a memcached server cannot do, and what happens instead: limits, TTLs, keys, invalidation, outages."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import llmcore
from llmcore.contracts import CacheBatches, CacheDiagnosis, CacheLeases, CacheProvider
from llmcore.errors import CacheError, CacheUnavailable, ConfigError
from llmcore.hookspecs import API_VERSION
from llmcore.types import Duration, Secret, Size
from llmcore_cache_memcached import plugin
from llmcore_cache_memcached.plugin import MemcachedOptions
from llmcore_cache_memcached.provider import MemcachedCache
from llmcore_testing import Simulator
from llmcore_testing.memcached_server import MemcachedServer, find_memcached
from tests.kits.cli import CommandLine
from tests.kits.redis_tls import make_certificates
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.skipif(find_memcached() is None, reason="no memcached")


@pytest.fixture
def server() -> Iterator[MemcachedServer]:
    with MemcachedServer() as server:
        yield server


@pytest.fixture
def make() -> Iterator[Callable[..., MemcachedCache]]:
    made: list[MemcachedCache] = []

    def one(*servers: str, **options: Any) -> MemcachedCache:
        given = {"timeout": Duration(10), "connect_timeout": Duration(10), **options}
        made.append(MemcachedCache(MemcachedOptions(servers=servers, **given)))
        return made[-1]

    yield one
    for cache in made:
        cache.close()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


def make_settings(server: MemcachedServer, **options: Any) -> dict[str, Any]:
    table = {"servers": [server.address], "timeout": 10, "connect_timeout": 10, **options}
    return {"cache": {"provider": "memcached", "memcached": table}, "llm": {"provider": "echo"}}


def test_the_plugin_offers_memcached() -> None:
    assert plugin.LLMCORE_API == API_VERSION
    (entry,) = plugin.llmcore_cache_providers()
    assert entry.name == "memcached"
    made = plugin.create(MemcachedOptions())
    for protocol in (CacheProvider, CacheBatches, CacheLeases, CacheDiagnosis):
        assert isinstance(made, protocol)
    assert repr(made) == "MemcachedCache(127.0.0.1:11211)"
    made.close()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("cache.example.com", "cache.example.com:11211"),
        ("cache:22", "cache:22"),
        ("[::1]", "[::1]:11211"),
        ("[::1]:22", "[::1]:22"),
        ("::1", "[::1]:11211"),
        ("/run/memcached.sock", "/run/memcached.sock"),
    ],
)
def test_addresses_are_parsed(address: str, shown: str, make: Callable[..., MemcachedCache]) -> None:
    assert repr(make(address)) == f"MemcachedCache({shown})"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"servers": ("memcached://localhost:11211",)}, "has the scheme `memcached://`"),
        ({"servers": ("host:99999",)}, "a port that is not a number from 1 to 65535"),
        ({"servers": ("host:",)}, "a port that is not"),
        ({"servers": ("[::1",)}, "not an IPv6 address in brackets"),
        ({"servers": ("a b",)}, "contains a space"),
        ({"servers": ()}, "at least one server"),
        ({"timeout": Duration(0)}, "timeout must be greater than 0, got 0"),
        ({"max_value_bytes": Size(0)}, "max_value_bytes must be greater than 0"),
        ({"namespace": ""}, "namespace must have 1 to 64 characters, got 0"),
        ({"username": "app"}, "username needs a password"),
        ({"tls_ca_file": Path("ca.pem")}, "tls_ca_file has no effect without tls"),
        ({"tls": True, "tls_ca_file": Path("none.pem")}, "tls_ca_file must be a file of certificates in PEM format"),
        ({"tls": True, "tls_ca_file": Path(__file__)}, "tls_ca_file must be a file of certificates in PEM format"),
        ({"tls": True, "tls_cert_file": Path(__file__)}, "tls_cert_file must be a certificate in PEM format"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MemcachedCache(MemcachedOptions(**options))
    assert message in caught.value.message
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_long_and_odd_keys_are_hashed_and_plain_ones_are_readable(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    cache = make(server.address, namespace="\u6587" * 64)
    for key in ("plain", "k" * 600, "with space", "new\nline", "\u6587"):
        cache.set(key, key.encode())
        assert cache.get(key) == key.encode()
    make(server.address).set("plain", b"value")
    assert server.ask(b"get llmcore:default:k:plain").startswith(b"VALUE ")


def test_an_entry_under_another_key_or_damaged_is_a_miss(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    cache = make(server.address)
    cache.set("one", b"value")
    reply = server.ask(b"get llmcore:default:k:one")
    entry = reply.split(b"\r\n", 1)[1].removesuffix(b"\r\nEND\r\n")

    def put(data: bytes) -> bytes | None:
        server.ask(b"set llmcore:default:k:two 0 0 %d" % len(data), data)
        server.ask(b"set llmcore:default:k:one 0 0 %d" % len(data), data)
        assert cache.get("two") is None, "the entry of another key was returned"
        return cache.get("one")

    assert put(entry) == b"value"
    for data in (entry[:-1], entry[:-1] + b"x", b"", b"foreign", entry[:20]):
        assert put(data) is None


@pytest.mark.parametrize("days", [29.9, 30, 31, 90, 20_000])
def test_a_ttl_over_thirty_days_is_not_taken_for_a_date(
    days: float, server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    cache = make(server.address)
    cache.set("key", b"value", days * 86_400)
    assert cache.get("key") == b"value"


def test_the_server_too_forgets_what_has_expired(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    make(server.address).set("key", b"value", 0.2)
    wait_until(lambda: server.ask(b"get llmcore:default:k:key") == b"END\r\n")


def test_clear_is_seen_by_other_processes_and_leaves_other_namespaces(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    ours, twin, other = make(server.address), make(server.address), make(server.address, namespace="other")
    for cache in (ours, other):
        for i in range(100):
            cache.set(f"key {i}", b"value")
    assert twin.get("key 1") == b"value"
    ours.clear()
    assert [twin.get(f"key {i}") for i in range(100)] == [None] * 100
    assert other.get("key 1") == b"value"


def test_a_generation_that_is_evicted_makes_misses_and_revives_nothing(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    cache = make(server.address)
    cache.set("old", b"value")
    server.ask(b"delete llmcore:default:g")
    assert cache.get("old") is None
    cache.set("new", b"value")
    assert (cache.get("old"), cache.get("new")) == (None, b"value")
    server.ask(b"set llmcore:default:g 0 0 3", b"bad")
    assert cache.get("new") is None
    cache.set("newer", b"value")
    assert cache.get("newer") == b"value"


def test_a_value_over_the_limit_is_refused_by_its_size_and_no_outage(
    server: MemcachedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with llmcore.load(make_settings(server)) as core:
        assert core.cache.set("key", b"older")
        assert not core.cache.set("key", b"x" * 1_200_000)
        assert core.cache.get("key") is None, "the older value is gone"
        assert not core.cache.set("key", b"x" * 1_200_000)
        assert core.cache.set("other", b"value")
        assert core.cache.get("other") == b"value"
    (warning,) = [record.getMessage() for record in caplog.records if "memcached" in record.getMessage()]
    assert "refuses to store a value" in warning
    assert "at most 1,000,000 bytes are stored (max_value_bytes)" in warning


def test_a_limit_of_the_server_below_ours_is_reported(make: Callable[..., MemcachedCache]) -> None:
    with MemcachedServer("-I", "512k") as small:
        cache = make(small.address)
        assert "524,288 bytes" in cache.unavailable()["set"]
        with pytest.raises(
            CacheError, match="a value of 900,000 bytes is too large for memcached at"
        ) as caught:
            cache.set("key", b"x" * 900_000)
        assert not isinstance(caught.value, CacheUnavailable)
        assert make(small.address, max_value_bytes=Size(500_000)).unavailable() == {}


def test_one_of_several_processes_makes_the_call(server: MemcachedServer) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        replies = pool.map(_chat, [make_settings(server)] * 3)
    assert sorted(replies) == [False, True, True]


def _chat(configuration: dict[str, Any]) -> bool:
    with llmcore.load(configuration) as core:
        return core.llm.chat("Say hello").cached


def test_sync_and_async_calls_share_entries_and_tags_invalidate(server: MemcachedServer) -> None:
    with llmcore.load(make_settings(server)) as core:
        assert not core.llm.chat("Hello").cached
        assert asyncio.run(core.llm.achat("Hello")).cached
        core.cache.set("user:1", b"Ada", tags="people")
        core.cache.invalidate(tags="people")
        assert core.cache.get("user:1") is None
        with pytest.raises(CacheError, match="cannot list its keys") as caught:
            core.cache.invalidate("user:*")
        assert caught.value.fix == "cache.clear()"


async def _ask_all(core: llmcore.Core) -> list[bool]:
    replies = await asyncio.gather(*(core.llm.achat(f"Say {i}") for i in range(100)))
    return [reply.cached for reply in replies]


def test_a_hundred_tasks_at_once(server: MemcachedServer) -> None:
    with llmcore.load(make_settings(server)) as core:
        assert asyncio.run(_ask_all(core)) == [False] * 100
        assert asyncio.run(_ask_all(core)) == [True] * 100


def test_a_server_that_is_away_is_a_miss_with_one_warning_and_comes_back(
    server: MemcachedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with llmcore.load(make_settings(server)) as core:
        core.llm.chat("Hello")
        server.kill()
        assert not core.llm.chat("Hello").cached
        assert not core.llm.chat("Hello again").cached
        server.start()
        wait_until(lambda: core.llm.chat("Hello").cached)
    said = [record.getMessage() for record in caplog.records if "memcached" in record.getMessage()]
    assert len(said) == 2
    assert f"memcached at {server.address} cannot be reached: Connection refused" in said[0]
    assert "works again" in said[1]


def test_a_restart_between_two_calls_is_not_an_error(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    cache = make(server.address)
    cache.set("key", b"value")
    server.kill()
    server.start()
    assert cache.get("key") is None
    cache.set("key", b"value")
    assert cache.get("key") == b"value"


def test_a_server_that_hangs_is_unavailable_and_its_late_reply_answers_nothing_else(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    cache = make(server.address, timeout=Duration(0.2))
    cache.set("one", b"1")
    cache.set("two", b"2")
    server.pause()
    with pytest.raises(CacheUnavailable, match=r"it was silent for"):
        cache.get("one")
    server.resume()
    wait_until(lambda: _get(cache, "two") == b"2")


def _get(cache: MemcachedCache, key: str) -> bytes | None:
    try:
        return cache.get(key)
    except CacheUnavailable:  # a loaded machine may be silent for 0.2 s
        return None


def test_a_wrong_password_is_named_and_shown_nowhere(
    tmp_path: Path, make: Callable[..., MemcachedCache]
) -> None:
    users = tmp_path / "users"
    users.write_text("app:right\n")
    with MemcachedServer("--auth-file", str(users)) as server:
        for options in ({}, {"username": "app", "password": Secret("canary")}):
            with pytest.raises(CacheError, match="requires a user name and a password") as caught:
                make(server.address, **options).get("key")
            assert "canary" not in str(caught.value) + repr(options)
            assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert make(server.address, username="app", password=Secret("right")).get("key") is None


def test_tls_and_plain_text_are_told_apart(tmp_path: Path, make: Callable[..., MemcachedCache]) -> None:
    files = make_certificates(tmp_path)
    with MemcachedServer("-Z", "-o", f"ssl_chain_cert={files.server},ssl_key={files.server_key}") as server:
        address = f"localhost:{server.port}"
        assert make(address, tls=True, tls_ca_file=files.ca).get("key") is None
        with pytest.raises(CacheUnavailable, match="certificate is not trusted"):
            make(address, tls=True).get("key")
        with pytest.raises(CacheUnavailable, match="certificate is not trusted"):
            make(server.address, tls=True, tls_ca_file=files.ca).get("key")
        free = {"tls_ca_file": files.ca, "tls_check_hostname": False}
        assert make(server.address, tls=True, **free).get("key") is None
        with pytest.raises(CacheUnavailable, match="as a port that uses TLS does"):
            make(address).get("key")


def test_another_server_is_recognised(make: Callable[..., MemcachedCache]) -> None:
    with Simulator() as upstream:
        address = urlsplit(upstream.url).netloc
        with pytest.raises(CacheUnavailable, match="cannot be reached"):
            make(address).get("key")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_makes_connections_of_its_own(
    server: MemcachedServer, make: Callable[..., MemcachedCache]
) -> None:
    cache = make(server.address)
    cache.set("key", b"value")
    child = os.fork()
    if not child:
        os._exit(not all(cache.get("key") == b"value" for _ in range(200)))
    found = [cache.get("key") for _ in range(200)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert found == [b"value"] * 200


def test_one_of_three_servers_that_is_away_fails_its_share_and_a_clear(
    make: Callable[..., MemcachedCache],
) -> None:
    with MemcachedServer() as one, MemcachedServer() as two, MemcachedServer() as three:
        addresses = [one.address, two.address, three.address]
        cache = make(*addresses)
        keys = [f"key {i}" for i in range(60)]
        for key in keys:
            cache.set(key, key.encode())
        assert all(each.ask(b"stats").count(b"STAT curr_items 0\r\n") == 0 for each in (one, two, three))
        reordered = make(*reversed(addresses))
        assert reordered.get_many(keys) == {key: key.encode() for key in keys}
        two.kill()
        with pytest.raises(CacheUnavailable):
            cache.clear()
        with pytest.raises(CacheUnavailable):
            cache.get_many(keys)


@pytest.mark.slow
def test_doctor_and_cache_stats_try_the_operations(server: MemcachedServer, tmp_path: Path) -> None:
    run = CommandLine(tmp_path)
    (tmp_path / "llmcore.toml").write_text(
        '[llm]\nprovider = "echo"\n[cache]\nprovider = "memcached"\n'
        f'[cache.memcached]\nservers = ["{server.address}"]\ntimeout = 10\nconnect_timeout = 10\n'
    )
    assert "servers: tuple[str, ...] " in run("plugins", "info", "memcached").stdout
    stats = run("cache", "stats")
    assert stats.returncode == 0, stats.stderr
    assert "memcached" in stats.stdout
    assert "unknown: the backend cannot list keys" in stats.stdout
    assert "broken" not in stats.stdout
    server.kill()
    done = run("doctor", LLMCORE_PLUGINS="memcached")
    assert done.returncode != 0
    assert f"memcached at {server.address} cannot be reached: Connection refused" in done.stdout
