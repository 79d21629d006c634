"""An outage of the cache in the middle of many threads, and in a process that forks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmcore.cache import CacheManager
from tests.kits.cache_outage import Link, Server, make_cache
from tests.kits.waiting import wait_until


@pytest.fixture(params=["reports", "versions"])
def link(request: pytest.FixtureRequest) -> Link:
    return Server(tells=request.param).connect()


@pytest.fixture
def cache(link: Link) -> Iterator[CacheManager]:
    with make_cache(link) as cache:
        yield cache


def reconnect(link: Link, cache: CacheManager) -> None:
    """Have the server answer again, and wait until the cache uses it."""
    link.repair()
    wait_until(lambda: cache.set("reconnected", 1))


def test_threads_lose_no_invalidation(link: Link, cache: CacheManager) -> None:
    cache.set_many({f"key {n}": "old" for n in range(400)})
    link.cut()
    cache.get("nothing")

    def forget(number: int) -> None:
        if number == 200:
            link.repair()
        cache.delete(f"key {number}")
        assert cache.get(f"key {number}") is None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(forget, range(400)))
    wait_until(lambda: not [key for key in list(link.server.kept) if key.startswith("v:key")])


def test_a_busy_process_reconnects(link: Link, cache: CacheManager) -> None:
    link.cut()
    cache.get("nothing")
    over = threading.Event()

    def write(name: int) -> None:
        number = 0
        while not over.wait(0.001):
            cache.set(f"{name} {number}", number := number + 1)

    with ThreadPoolExecutor(4) as pool:
        for name in range(4):
            pool.submit(write, name)
        wait_until(lambda: cache.get("3 0") is not None)
        try:
            link.delay_s = 0.0005
            reconnect(link, cache)
        finally:
            over.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_that_is_forked_during_an_outage_repeats_the_invalidation(link: Link) -> None:
    with make_cache(link) as cache:
        cache.set("key", "old")
        link.cut()
        cache.delete("key")
        cache.set("during", 1)
        child = os.fork()
        if not child:
            code = 1
            try:
                served = cache.get("during") == 1 and cache.get("key") is None
                link.repair(reports=False)
                wait_until(lambda: "v:key" not in link.server.kept)
                code = 0 if served and cache.get("key") is None else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        link.repair(reports=False)
        wait_until(lambda: "v:key" not in link.server.kept)
