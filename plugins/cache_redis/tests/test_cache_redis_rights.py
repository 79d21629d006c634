"""A Redis user with few rights: leases without scripts, one warning, and a diagnosis that names what is unavailable."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from llmcore.contracts import CacheDiagnosis
from llmcore.errors import CacheError
from llmcore.support.limit_values import LimitScope, PermitRequest
from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing import CacheConformance, Simulator
from llmcore_testing.conformance import Conformance
from llmcore_testing.redis_server import RedisServer, redis_cluster, redis_server_version

pytestmark = pytest.mark.skipif(redis_server_version() < (7,), reason="no redis-server of version 7 or newer")
WITHOUT_SCRIPTS = ("+@all", "-@scripting")
WITHOUT_TRANSACTIONS = (*WITHOUT_SCRIPTS, "-@transaction")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def url(server: RedisServer, rights: Sequence[str]) -> str:
    server.ask("FLUSHALL")
    server.ask("ACL", "SETUSER", "limited", "reset", "on", ">pass", "~*", *rights)
    return f"redis://limited:pass@127.0.0.1:{server.port}/0"


def cache(url: str, **options: Any) -> RedisCache:
    return RedisCache(RedisOptions(url=url, timeout=Duration(5), connect_timeout=Duration(5), **options))


def _leave_the_tests_of_leases(kit: type) -> None:
    """Leave out what does not depend on the rights."""
    for name in dir(kit):
        if name.startswith("test_") and getattr(getattr(kit, name), "ability", None) != "acquire":
            setattr(kit, name, None)


class TestRefusedOperations(CacheConformance):
    """Each operation is refused to a user who may run all other commands. `get_many` needs the command of `get`."""

    lacks = ("denied",)

    refused: ClassVar[dict[str, tuple[str, ...]]] = {
        "get": ("-getrange", "-get"),
        "set": ("-set", "-psetex", "-setex"),
        "delete": ("-unlink", "-del"),
        "clear": ("-scan",),
        "keys": ("-scan",),
        "delete_matching": ("-scan",),
        "acquire": ("-@scripting",),
    }

    @pytest.fixture
    def provider(self, server: RedisServer) -> RedisCache:
        server.ask("FLUSHALL")
        return cache(server.url)

    @pytest.fixture
    def restricted(self, server: RedisServer) -> dict[str, RedisCache]:
        found = {}
        for operation, rights in self.refused.items():
            user = f"no-{operation}"
            server.ask("ACL", "SETUSER", user, "reset", "on", ">pass", "~*", "+@all", *rights)
            found[operation] = cache(f"redis://{user}:pass@127.0.0.1:{server.port}/0")
        return found


for _name in dir(TestRefusedOperations):
    if _name.startswith("test_") and "refused" not in _name:
        setattr(TestRefusedOperations, _name, None)


class OfLeases(CacheConformance):
    @pytest.fixture
    def provider(self, url: str) -> RedisCache:
        return cache(url)

    @pytest.fixture
    def twin(self, url: str) -> RedisCache:
        return cache(url)


_leave_the_tests_of_leases(OfLeases)


class TestLeasesWithoutScripts(OfLeases):
    @pytest.fixture
    def rights(self) -> Sequence[str]:
        return WITHOUT_SCRIPTS


class TestLeasesWithAndWithoutScripts(OfLeases):
    """Users with different rights share leases."""

    @pytest.fixture
    def rights(self) -> Sequence[str]:
        return WITHOUT_SCRIPTS

    @pytest.fixture
    def twin(self, server: RedisServer) -> RedisCache:
        return cache(server.url)


@pytest.mark.parametrize("rights", [WITHOUT_SCRIPTS], ids=["no_scripts"])
class TestWarnings(Conformance):
    kind: ClassVar[str] = "cache"
    must: ClassVar[tuple[str, ...]] = ("get", "set", "delete", "clear")

    @pytest.fixture
    def provider(self, url: str) -> RedisCache:
        return cache(url)

    def test_scripts_are_missed_once(self, caplog: pytest.LogCaptureFixture) -> None:
        for i in range(5):
            assert self.call("acquire", f"work {i}", "one", 60.0) is True
            self.call("release", f"work {i}", "one")
            assert self.call("acquire", f"work {i}", "two", 60.0) is True
        assert [record.getMessage() for record in caplog.records] == [
            (
                "Redis refuses: the user 'limited' may not run EVAL: leases are acquired by SET NX PX; "
                "fix: redis-cli ACL SETUSER limited +eval"
            )
        ]
        assert caplog.records[0].name.startswith("llmcore.")

    def test_a_lease_that_cannot_be_released_safely_runs_out(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.ask("ACL", "SETUSER", "limited", "-@transaction")
        for i in range(3):
            assert self.call("acquire", f"work {i}", "one", 0.5) is True
            self.call("release", f"work {i}", "one")
        end = time.monotonic() + 60
        while not self.call("acquire", "work 2", "two", 60.0) and time.monotonic() < end:
            time.sleep(0.01)
        assert self.call("acquire", "work 2", "two", 60.0) is True
        said = [record.getMessage() for record in caplog.records]
        assert [text for text in said if "they expire" in text] == [
            (
                "Redis refuses: the user 'limited' may not run WATCH: leases are not released, they expire; "
                "fix: redis-cli ACL SETUSER limited +watch"
            )
        ]

    def test_a_lease_of_another_holder_is_kept_if_multi_is_refused(self, server: RedisServer) -> None:
        server.ask("ACL", "SETUSER", "limited", "-multi")
        assert self.call("acquire", "work", "one", 60.0) is True
        self.call("release", "work", "two")
        self.call("release", "work", "one")
        assert server.ask("GET", "llmcore:default:lease:work") == "one"
        assert self.call("get", "nothing") is None, "the connection is usable"

    def test_a_right_that_is_granted_later_is_used(self, server: RedisServer) -> None:
        assert "acquire" in self.call("unavailable")
        server.ask("ACL", "SETUSER", "limited", "+@all")
        assert self.call("unavailable") == {}


@pytest.mark.parametrize(
    ("rights", "unavailable"),
    [
        (("+@all",), {}),
        (
            WITHOUT_SCRIPTS,
            {"acquire": "the user 'limited' may not run EVAL: leases are acquired by SET NX PX"},
        ),
        (
            WITHOUT_TRANSACTIONS,
            {
                "acquire": "the user 'limited' may not run EVAL: leases are acquired by SET NX PX",
                "release": "the user 'limited' may not run WATCH: leases are not released, they expire",
            },
        ),
        (
            ("+@all", "-set"),
            {
                "set": "the user 'limited' may not run SET",
                "acquire": "the user 'limited' may not run SET",
                "release": "the user 'limited' may not run SET",
            },
        ),
        (
            ("+@all", "-scan", "-client|tracking"),
            {
                "keys": "the user 'limited' may not run SCAN",
                "clear": "the user 'limited' may not run SCAN",
                "delete_matching": "the user 'limited' may not run SCAN",
                "watch": "the user 'limited' may not run CLIENT TRACKING",
            },
        ),
        (
            ("+@all", "-getrange"),
            dict.fromkeys(("get", "get_many"), "the user 'limited' may not run GETRANGE"),
        ),
        (
            ("+@all", "resetkeys", "~llmcore:default:v1:*"),
            dict.fromkeys(("acquire", "release"), "the user 'limited' may not access the keys of this cache"),
        ),
    ],
    ids=["all", "no_scripts", "no_transactions", "no_set", "no_scan", "no_get", "no_leases"],
)
class TestDiagnosis(Conformance):
    kind: ClassVar[str] = "cache"
    must: ClassVar[tuple[str, ...]] = ("get", "set", "delete", "clear")

    @pytest.fixture
    def provider(self, url: str) -> RedisCache:
        return cache(url)

    def test_unavailable_names_each_method_with_its_reason(
        self, server: RedisServer, unavailable: dict[str, str]
    ) -> None:
        assert isinstance(self.caller.provider, CacheDiagnosis)
        assert self.call("unavailable") == unavailable
        assert server.ask("DBSIZE") == 0, "it left something"


def test_a_replica_says_so(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.ask("REPLICAOF", "127.0.0.1", "1")
        made = cache(server.url)
        found = made.unavailable()
        made.close()
    assert set(found) == {"set", "delete", "clear", "delete_matching", "acquire", "release"}
    assert set(found.values()) == {"the server is a read-only replica"}


def test_a_cluster_is_diagnosed(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as nodes:
        made = cache(f"redis+cluster://127.0.0.1:{nodes[0].port}")
        assert made.unavailable() == {}
        for node in nodes:
            node.ask("ACL", "SETUSER", "default", "-@scripting")
        assert set(made.unavailable()) == {"acquire"}
        assert made.acquire("work", "one", 60) is True
        made.release("work", "one")
        assert made.acquire("work", "two", 60) is True
        made.close()


@pytest.mark.parametrize("rights", [("+@all", "-client|tracking")], ids=["no_tracking"])
def test_missing_reports_of_changes_are_logged_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    heard: queue.Queue[Sequence[str] | None] = queue.Queue()
    made = cache(url)
    assert made.watch(heard.put) is True
    end = time.monotonic() + 60
    while not caplog.records and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.5)  # it tries again, and again
    made.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        (
            "Redis refuses: the user 'limited' may not run CLIENT TRACKING: changes are not reported, "
            "so there is no memory tier; fix: redis-cli ACL SETUSER limited +client|tracking"
        )
    ]
    assert heard.empty()


PROGRAM = """
import logging, sys, llmcore

logging.basicConfig(level=logging.WARNING, format="%(message)s")
with llmcore.load({config!r}) as core:
    print("ready", flush=True)
    sys.stdin.readline()
    print(core.llm.chat("Hello").text)
"""


@pytest.mark.parametrize(
    "rights", [WITHOUT_SCRIPTS, WITHOUT_TRANSACTIONS], ids=["no_scripts", "no_transactions"]
)
def test_four_processes_make_one_call_without_scripts(
    server: RedisServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    before = _count_calls(server)
    with Simulator() as upstream:
        upstream.hold()
        openai = {"api_key": "sk-test", "base_url": upstream.base_url}
        redis = {"url": url, "timeout": 5, "connect_timeout": 5}
        config = {
            "llm": {"provider": "openai", "model": "gpt-5.6-luna", "openai": openai},
            "cache": {"provider": "redis", "redis": redis},
        }
        command = [sys.executable, "-c", PROGRAM.format(config=config)]
        with ExitStack() as stack:
            processes = [stack.enter_context(_run_command(command)) for _ in range(4)]
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            upstream.wait_for_requests(1, timeout_s=60)
            while _count_calls(server) - before < 40:  # the others ask for the lease again and again
                time.sleep(0.01)
            upstream.release()
            ended = [process.communicate(timeout=60) for process in processes]
        assert upstream.counts["chat"] == 1
    assert len({text for text, _ in ended}) == 1
    for _, warnings in ended:
        assert warnings.count("leases are acquired by SET NX PX") == 1, warnings


@contextmanager
def _run_command(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command that is killed at the end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _count_calls(server: RedisServer) -> int:
    """Return how often SET was run, which acquires leases."""
    for line in server.ask("INFO", "commandstats").splitlines():
        if line.startswith("cmdstat_set:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


def test_a_user_without_a_right_of_shared_rate_limits_learns_which_ones_are_needed(
    server: RedisServer,
) -> None:
    user = ("ACL", "SETUSER", "app", "reset", "on", ">word", "+@read", "+@connection")
    server.ask(*user, "~llmcore:default:rate:*")
    url = server.url.replace("127.0.0.1", "app:word@127.0.0.1")
    cache = RedisCache(RedisOptions(url=url, limit_timeout=Duration(60)))
    request = PermitRequest("p:1", "openai", (LimitScope("openai", 60.0),), 0, 60.0, 60.0)
    with pytest.raises(CacheError) as caught:
        cache.request_permit(request, 60)
    assert caught.value.fix is not None
    server.ask(*caught.value.fix.removeprefix("redis-cli ").split())
    assert cache.request_permit(request, 60).granted
    cache.close()
