"""The reports to a watcher: writes and deletes of all clients, and lost reports."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.redis_server import (
    RedisServer,
    find_redis_server,
    redis_cluster,
    redis_server_version,
    redis_under_sentinels,
)

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
needs_seven = pytest.mark.skipif(
    redis_server_version() < (7,), reason="no redis-server of version 7 or newer"
)

Heard = queue.Queue[Sequence[str] | None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def make() -> Iterator[Callable[..., RedisCache]]:
    made: list[RedisCache] = []

    def one(url: str, **options: Any) -> RedisCache:
        made.append(
            RedisCache(RedisOptions(url=url, timeout=Duration(3), connect_timeout=Duration(3), **options))
        )
        return made[-1]

    yield one
    for cache in made:
        cache.close()


def read_until(heard: Heard, wanted: Sequence[str] | None) -> list[Sequence[str] | None]:
    """Return the reports before *wanted*, which must arrive."""
    before: list[Sequence[str] | None] = []
    while (report := heard.get(timeout=60)) != wanted:
        before.append(report)
    return before


def test_writes_and_deletes_of_others_are_reported(
    server: RedisServer, make: Callable[..., RedisCache]
) -> None:
    heard: Heard = queue.Queue()
    watching, writing = make(server.url), make(server.url)
    writing.set("before", b"1")
    assert watching.watch(heard.put) is True
    assert heard.get(timeout=60) == [], "the first report says that reports begin"
    make(server.url, namespace="elsewhere").set("not ours", b"1")
    writing.acquire("lease", "me", 60)
    writing.set("k\u00fcche", b"1")
    assert heard.get(timeout=60) == ["k\u00fcche"]
    writing.delete("before")
    assert heard.get(timeout=60) == ["before"]
    writing.set("short", b"1", 0.05)
    assert [heard.get(timeout=60), heard.get(timeout=60)] == [["short"], ["short"]], "written, then over"
    watching.set("own", b"1")
    assert heard.get(timeout=60) == ["own"]
    for i in range(300):
        writing.set(f"key {i}", b"1")
    reported: set[str] = set()
    while len(reported) < 300:
        reported.update(heard.get(timeout=60) or ())
    writing.clear()
    while "key 7" not in (heard.get(timeout=60) or ()):
        pass
    server.ask("FLUSHALL")
    read_until(heard, None)


def test_a_lost_connection_is_reported_and_established_again(
    server: RedisServer, make: Callable[..., RedisCache]
) -> None:
    heard: Heard = queue.Queue()
    watching, writing = make(server.url), make(server.url)
    watching.watch(heard.put)
    assert heard.get(timeout=60) == []
    server.kill()
    assert heard.get(timeout=60) is None, "lost reports must be reported at once"
    server.start()
    assert heard.get(timeout=60) == [], "and that they begin again"
    writing.set("key", b"1")
    assert heard.get(timeout=60) == ["key"]


def test_a_server_that_is_down_at_first_is_waited_for(
    server: RedisServer, make: Callable[..., RedisCache]
) -> None:
    heard: Heard = queue.Queue()
    server.kill()
    assert make(server.url).watch(heard.put) is True
    server.start()
    assert heard.get(timeout=60) == []


def test_a_listener_that_fails_hears_on(server: RedisServer, make: Callable[..., RedisCache]) -> None:
    heard: Heard = queue.Queue()

    def listen(keys: Sequence[str] | None) -> None:
        heard.put(keys)
        if keys == ["bad"]:
            raise ValueError("bad")

    watching = make(server.url)
    watching.watch(listen)
    assert heard.get(timeout=60) == []
    watching.set("bad", b"1")
    watching.set("good", b"1")
    assert [heard.get(timeout=60), heard.get(timeout=60)] == [["bad"], ["good"]]


def test_close_ends_the_thread_even_if_the_server_hangs(
    server: RedisServer, make: Callable[..., RedisCache]
) -> None:
    heard: Heard = queue.Queue()
    patient = Duration(110)
    watching = RedisCache(RedisOptions(url=server.url, timeout=patient, connect_timeout=patient))
    before = threading.active_count()
    watching.watch(heard.put)
    assert heard.get(timeout=60) == []
    assert threading.active_count() == before + 1
    server.pause()
    started = time.monotonic()
    watching.close()
    assert time.monotonic() - started < 60, "close waited for the server"
    assert threading.active_count() == before
    server.resume()
    make(server.url).set("key", b"1")
    assert heard.empty(), "close must end the reports"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_hears_for_itself(server: RedisServer) -> None:
    code = (
        "import os, queue, sys\n"
        "from llmcore_cache_redis.plugin import RedisOptions\n"
        "from llmcore_cache_redis.provider import RedisCache\n"
        "cache = RedisCache(RedisOptions(url=sys.argv[1], timeout=3.0, connect_timeout=3.0))\n"
        "heard = queue.Queue()\n"
        "assert cache.watch(heard.put)\n"
        "assert heard.get(timeout=60) == []\n"
        "child = os.fork()\n"
        "if child: os._exit(os.waitpid(child, 0)[1] != 0)\n"
        "assert [heard.get(timeout=60), heard.get(timeout=60)] == [None, []]\n"
        "cache.set('key', b'1')\n"
        "os._exit(heard.get(timeout=60) != ['key'])\n"
    )
    command = [sys.executable, "-c", code, server.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@needs_seven
def test_a_cluster_reports_no_changes(tmp_path: Path, make: Callable[..., RedisCache]) -> None:
    with redis_cluster(tmp_path) as nodes:
        assert make(f"redis+cluster://127.0.0.1:{nodes[0].port}").watch(lambda _: None) is False


@needs_seven
def test_watching_continues_after_a_failover(tmp_path: Path, make: Callable[..., RedisCache]) -> None:
    heard: Heard = queue.Queue()
    with redis_under_sentinels(tmp_path) as servers:
        cache = make(servers.url)
        cache.set("key", b"1")
        cache.watch(heard.put)
        assert heard.get(timeout=60) == []
        servers.master.kill()
        read_until(heard, None)
        assert heard.get(timeout=30) == [], "the new master is listened to"
        assert servers.replica.ask("ROLE")[0] == "master"
        cache.set("after", b"2")
        assert (cache.get("after"), servers.replica.ask("DBSIZE") > 0) == (b"2", True)
        assert "after" in str(read_until(heard, ["after"]) or "after")
        # The old master comes back, as a replica in the end: nothing is read from it again.
        servers.master.start()
        assert cache.get("after") == b"2"


def test_close_during_the_start_of_watching_works(
    server: RedisServer, make: Callable[..., RedisCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: Heard = queue.Queue()
    cache, start = make(server.url), threading.Thread.start

    def close_and_start(thread: threading.Thread) -> None:
        cache.close()
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", close_and_start)
        assert cache.watch(heard.put) is True
    assert heard.get(timeout=60) == []
