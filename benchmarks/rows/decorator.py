"""A hit of a decorated function with a cache in memory, sync and async."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.clients import TIMED
from benchmarks.harness import Row, Side, Workshop
from benchmarks.peers import AIOCACHE, CACHETOOLS, CASHEWS

UNIT = "us of CPU a hit"

SYNC = f"""
{TIMED}
%(imports)s

%(decorator)s
def f(x: int) -> int:
    return x + 1

assert f(7) == 8
timed("f(7)", %(many)s, f=f)
"""

ASYNC = """
import asyncio, time
from itertools import repeat
%(imports)s

%(decorator)s
async def f(x: int) -> int:
    return x + 1

async def hits(many):
    for _ in repeat(None, many):
        await f(7)

async def main(many):
    assert await f(7) == 8
    await hits(many // 10)
    started = time.process_time()
    await hits(many)
    print((time.process_time() - started) / many * 1e6)

asyncio.run(main(%(many)s))
"""

OURS = {
    "imports": "from llmcore.cache import CacheManager; cache = CacheManager(backend='memory')",
    "decorator": "@cache.cached(ttl=3600)",
    "many": 300_000,
}
FILE = {**OURS, "imports": "from llmcore.cache import CacheManager; cache = CacheManager(cache_dir='cache')"}
LRU = {
    "imports": "from functools import lru_cache",
    "decorator": "@lru_cache(maxsize=1000)",
    "many": 2_000_000,
}
CACHETOOLS_TTL = {
    "imports": "from threading import Lock; from cachetools import cached, TTLCache",
    "decorator": "@cached(TTLCache(1000, 3600), lock=Lock())",
    "many": 300_000,
}
BARE = {"imports": "", "decorator": "", "many": 2_000_000}
AIO = {"imports": "from aiocache import cached", "decorator": "@cached(ttl=3600)", "many": 20_000}
CASH = {
    "imports": "from cashews import cache; cache.setup('mem://')",
    "decorator": "@cache(ttl='1h')",
    "many": 20_000,
}


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare with the standard library and with other libraries."""
    host = shop.host()

    def side(name: str, program: str, **more: float) -> Side:
        return Side(name=name, environment=host, arguments=("-c", program), **more)  # type: ignore[arg-type]

    def rival(name: str, requirements: Sequence[str], program: str) -> Side:
        return Side(name=name, environment=shop.rival(*requirements), arguments=("-c", program), peer=True)

    yield [
        Row(
            title="cached(), sync",
            unit=UNIT,
            sides=[
                side("functools.lru_cache", SYNC % LRU),
                side("llmcore, memory", SYNC % OURS, at_most=3.0, limit=0.4),
                side("llmcore, file", SYNC % FILE),
                rival("cachetools TTLCache and lock", CACHETOOLS, SYNC % CACHETOOLS_TTL),
            ],
        ),
        Row(
            title="cached(), async",
            unit=UNIT,
            sides=[
                side("a bare await", ASYNC % BARE),
                side("llmcore, memory", ASYNC % OURS),
                side("llmcore, file", ASYNC % FILE),
                rival("aiocache", AIOCACHE, ASYNC % AIO),
                rival("cashews", CASHEWS, ASYNC % CASH),
            ],
        ),
    ]
