"""A process that forks while its threads use the cache leaves children that use it too, and none that hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmcore_testing.redis_server import RedisServer, find_redis_server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

PROGRAM = """
import os, signal, threading
from llmcore.cache import CacheManager

cache = CacheManager(**{options!r})
runs = []

@cache.cached(ttl=60, tags="all")
def double(x):
    return 2 * x

def use(name, number):
    assert cache.get(f"nothing {{number % 7}}") is None
    assert cache.get("kept", 1) == 1
    assert double(number % 500) == 2 * (number % 500)
    if number % 13 == 0:
        cache.set(f"of {{name}}", number)
        assert cache.get_many([f"of {{name}}", "kept"])

def busy(name):
    number = 0
    while not over.is_set():
        use(name, number := number + 1)

over = threading.Event()
cache.set("kept", 1)
threads = [threading.Thread(target=busy, args=(name,)) for name in range(6)]
for thread in threads:
    thread.start()
ended = []
for turn in range(15):
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that hangs is ended by the system
        for number in range(60):
            use("child", number)
        os._exit(0)
    ended.append(os.waitpid(child, 0)[1])
over.set()
for thread in threads:
    thread.join()
cache.close()
assert ended == [0] * 15, ended
"""


def check_forks(folder: Path, **options: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM.format(options=options)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_with_the_cache_in_memory(tmp_path: Path) -> None:
    check_forks(tmp_path, backend="memory")


def test_with_the_cache_in_a_file(tmp_path: Path) -> None:
    check_forks(tmp_path, backend="file", cache_dir=str(tmp_path / "cache"))


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
def test_with_the_cache_in_redis(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        check_forks(tmp_path, backend="redis", url=server.url, timeout=15.0, connect_timeout=15.0)
