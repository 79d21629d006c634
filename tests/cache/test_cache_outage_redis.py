"""Redis is killed and restarted: memory serves during the outage, and invalidated values do not return."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llmcore
from llmcore.cache import CacheManager
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")


OTHER = """
import sys
from llmcore.cache import CacheManager
cache = CacheManager("redis", url=sys.argv[1], timeout=5, connect_timeout=5)
for line in sys.stdin:
    name, *arguments = line.split()
    try:
        print(getattr(cache, name)(*arguments), flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, appendonly="yes", appendfsync="always") as server:
        yield server


def count_reads(redis: RedisServer) -> str:
    """Return the server's count of the command that the cache reads with."""
    lines = redis.ask("INFO", "commandstats").splitlines()
    return next((line.split(",")[0] for line in lines if line.startswith("cmdstat_getrange:")), "")


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_redis_is_killed_and_restarted(redis: RedisServer, variant: str) -> None:
    core = llmcore.load({"cache": {"provider": "redis", "redis": {"url": redis.url, "timeout": "1s"}}})

    def is_cached(text: str) -> bool:
        reply = asyncio.run(core.llm.achat(text)) if variant == "async" else core.llm.chat(text)
        assert reply.text == f"You said: {text}"
        return reply.cached

    with core:
        core.cache.set("key", "kept")
        wait_until(lambda: core.cache.get("key") == "kept" and is_cached("before"))
        redis.kill()
        assert [is_cached("before") for _ in range(5)] == [True] * 5
        assert core.cache.get("key") == "kept"
        assert [is_cached("during") for _ in range(5)] == [False] + [True] * 4
        core.cache.delete("key")
        assert core.cache.get("key") is None
        redis.start()
        wait_until(lambda: redis.ask("DBSIZE") == 1)
        assert core.cache.get("key") is None
        wait_until(lambda: core.cache.set("works", 1))
        assert is_cached("before"), "Redis has it"
        assert not is_cached("during"), "made during the outage, and dropped"


def test_another_process_invalidates_during_the_outage(redis: RedisServer) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, redis.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None

    def there(line: str) -> str:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(line + "\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    def is_in_memory(look: Callable[[], object]) -> bool:
        before = count_reads(redis)
        assert look() == "old"
        return count_reads(redis) == before

    with other, CacheManager("redis", url=redis.url, timeout=5, connect_timeout=5) as here:
        here.set_many({"user:1": "old", "user:2": "old", "page": "kept"})
        wait_until(lambda: is_in_memory(lambda: here.get("user:1")))
        wait_until(lambda: is_in_memory(lambda: there("get user:1")))
        redis.kill()
        assert here.get("user:1") == "old"
        assert there("get user:1") == "old"
        assert there("invalidate user:*") == "CacheUnavailable"
        assert there("get user:1") == "None"
        assert here.get("user:1") == "old", "for 60 seconds this process cannot know"
        redis.start()
        wait_until(lambda: "old" not in {here.get("user:1"), here.get("user:2")})
        assert there("get user:1") == "None"
        wait_until(lambda: here.get("page") == "kept")
        other.stdin.close()
