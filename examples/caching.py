"""Caching, one scenario after the other. Needs no key. The scenario with Redis needs a server at REDIS_URL."""

import asyncio  # noqa: TID253 - a program of its own
import itertools
import os
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmcore.cache import CacheManager, get_cache
from llmcore.errors import LLMCoreError

folder = tempfile.TemporaryDirectory()
cache = CacheManager(backend="file", cache_dir=folder.name)


@dataclass
class City:
    """A class that a cached function can return, because its annotation names it."""

    name: str
    at: tuple[float, float]


def basic_caching() -> None:
    """Run a function once for equal arguments."""
    runs = itertools.count(1)

    @cache.cached(ttl="1h")
    def slow_square(x: int) -> str:
        return f"{x * x}, run {next(runs)}"

    print("basic caching:", slow_square(12), "|", slow_square(12))


def statistics() -> None:
    """Count hits and misses."""
    cache.clear_stats()
    cache.get("nothing")
    cache.set("something", 1)
    cache.get("something")
    print("statistics:", cache.get_stats())


def manual_operations() -> None:
    """Set, get and delete values by key."""
    cache.set("user:1", {"name": "Ann"})
    cache.set_many({"user:2": {"name": "Ben"}, "user:3": None})
    print("manual operations:", cache.get("user:1"), cache.get_many(["user:2", "user:3", "user:4"]))
    print(
        "manual operations:", cache.delete("user:1"), cache.get("user:1"), cache.get("user:1", default="gone")
    )


def expiry() -> None:
    """Expire a value after its TTL."""
    cache.set("brief", "here", ttl="50ms")
    before = cache.get("brief")
    while cache.get("brief") is not None:
        time.sleep(0.01)
    print("expiry:", before, "then", cache.get("brief"))


def invalidation() -> None:
    """Invalidate by pattern, by tag, and all results of a function."""
    cache.set_many({"user:1": "Ann", "user:2": "Ben", "order:1": "tea"})
    print("invalidation by pattern:", cache.invalidate("user:*"), cache.get("order:1"))

    runs = itertools.count(1)

    @cache.cached(tags=lambda user: [f"user:{user}"])
    def profile(user: int) -> str:
        return f"{user}, run {next(runs)}"

    profile(1), profile(2)
    cache.invalidate(tags="user:1")
    print("invalidation by tag:", profile(1), "|", profile(2))
    print("invalidation of a function:", profile.invalidate(), profile(2))


def complex_data() -> None:
    """Cache nested data, and objects whose class is in the annotation."""
    cache.set("order", {"total": Decimal("9.90"), "items": [("tea", 2), ("milk", 1)], "tags": {"paid"}})

    @cache.cached()
    def find(name: str) -> City:
        return City(name, (48.9, 2.4))

    find("Paris")
    print("complex data:", cache.get("order"), find("Paris"))
    print("complex data:", cache.set("wrong", object()), cache.get("wrong"))


def different_arguments() -> None:
    """Distinguish arguments by value and type, positional or by name."""

    @cache.cached()
    def kind(x: Any, *, deep: Any = None) -> str:
        return f"{type(x).__name__} {deep}"

    print(
        "different arguments:",
        kind(1),
        kind(x=True),
        kind("1"),
        kind(1, deep=[(1, 2)]),
        kind(1, deep=[[1, 2]]),
    )
    print("different arguments:", kind(x=1) == kind(1), kind.cache_key(1) == kind.cache_key(x=1, deep=None))


def use_shared_cache() -> None:
    """Use the configured cache of the process."""
    print("shared default:", get_cache() is get_cache())


async def asynchronous() -> None:
    """Cache coroutines, and generators that were read to their end."""
    runs = itertools.count(1)

    @cache.cached(ttl=60)
    async def fetch(url: str) -> str:
        await asyncio.sleep(0)
        return f"{url}, run {next(runs)}"

    @cache.cached()
    async def words(text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield f"{word}{next(runs)}"

    print("async:", await asyncio.gather(fetch("a"), fetch("a"), fetch("b")))
    print("async:", [word async for word in words("x y")], [word async for word in words("x y")])
    await cache.aset("key", 1)
    print("async:", await cache.aget("key"), await fetch.ainvalidate())


def stampede() -> None:
    """Run a function once for concurrent callers."""
    runs = itertools.count(1)

    @cache.cached()
    def report(day: str) -> str:
        time.sleep(0.05)
        return f"{day}, run {next(runs)}"

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(report, ["today"] * 200))
    print("stampede:", len(answers), "answers:", set(answers))


def redis() -> None:
    """Do the same with Redis: one word of the configuration changes."""
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        with CacheManager(backend="redis", url=url) as remote:
            kept = remote.set("llmcore-example", "from Redis", ttl=60)
            print("redis:", remote.get("llmcore-example") if kept else f"no server answers at {url}")
    except LLMCoreError as error:
        print("redis:", error.message)


basic_caching()
statistics()
manual_operations()
expiry()
invalidation()
complex_data()
different_arguments()
use_shared_cache()
asyncio.run(asynchronous())
stampede()
redis()
cache.close()
folder.cleanup()
