"""A cached reply, from the question to the typed reply, by the kind of cache."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.clients import TIMED, UPSTREAM
from benchmarks.harness import Row, Side, Workshop
from benchmarks.peers import LANGCHAIN, LITELLM, OFFLINE
from benchmarks.upstream import serve
from llmcore_testing.redis_server import RedisServer

UNIT = "us of CPU a hit"

ASKED = f"""
{TIMED}
{UPSTREAM}
import json
from itertools import cycle

QUESTIONS = ["Question %d: what falls on the roof of the hut, and who hears it?" % n for n in range(32)]

def measured(ask, many, end=lambda: None):
    for question in QUESTIONS:
        assert ask(question)
    time.sleep(0.5)  # some keep their replies in the background
    known = posts()
    question = cycle(QUESTIONS).__next__
    timed("ask(question())", many, end, ask=ask, question=question)
    assert posts() == known, "not everything was a hit"
"""

HOST = f"""
{ASKED}
import llmcore

core = llmcore.load({{"llm": {{"provider": "openai", "model": "gpt-4o-mini"}}, "cache": json.loads(sys.argv[1])}})
chat = core.llm.chat
measured(lambda question: chat(question, temperature=0.5), 20_000, core.close)
"""

REDIS_PY = f"""
{ASKED}
import llmcore, redis

settings = {{"llm": {{"provider": "openai", "model": "gpt-4o-mini"}}, "cache": json.loads(sys.argv[1])}}
client = redis.Redis.from_url(settings["cache"]["redis"]["url"])
client.flushdb()
with llmcore.load(settings) as core:
    for question in QUESTIONS:
        core.llm.chat(question, temperature=0.5)
names = [name for name in client.scan_iter(count=1000) if client.strlen(name) > 500]
assert len(names) == len(QUESTIONS)
timed("get(name())", 20_000, get=client.get, name=cycle(names).__next__)
"""

LITELLM_HIT = f"""
{ASKED}
import litellm
from litellm.caching.caching import Cache

litellm.cache = Cache(**json.loads(sys.argv[1]))

def ask(question):
    return litellm.completion(
        model="openai/gpt-4o-mini", messages=[{{"role": "user", "content": question}}], temperature=0.5,
        caching=True, api_base=os.environ["OPENAI_BASE_URL"],
    ).choices[0].message.content

measured(ask, 300)
"""

LANGCHAIN_HIT = f"""
{ASKED}
from langchain_core.globals import set_llm_cache
from langchain_openai import ChatOpenAI

if sys.argv[1] == "memory":
    from langchain_core.caches import InMemoryCache
    set_llm_cache(InMemoryCache())
else:
    from langchain_community.cache import SQLiteCache
    set_llm_cache(SQLiteCache(database_path="langchain.db"))
model = ChatOpenAI(model="gpt-4o-mini", temperature=0.5)
measured(lambda question: model.invoke(question).content, 2_000)
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare the tiers, and Redis with a GET of the same bytes by redis-py."""
    with TemporaryDirectory(prefix="llmcore-bench-") as folder, serve() as address:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": address}
        own = _near(shop, env)
        with RedisServer(Path(folder)) as redis:
            yield [own, _redis(shop, env, redis)]


def _near(shop: Workshop, env: Mapping[str, str]) -> Row:
    langchain = shop.rival(*LANGCHAIN)
    file = {"provider": "file", "ttl": "1h", "file": {"cache_dir": "cache"}}
    sides = [
        _host(shop, env, "llmcore, memory tier before file", file, limit=9.0),
        _host(shop, env, "llmcore, backend memory", {"provider": "memory", "ttl": "1h"}, limit=9.0),
        _host(shop, env, "llmcore, file, no memory tier", {**file, "memory": 0}, limit=18.0),
        _litellm(shop, env, "litellm local", {"type": "local"}),
        _litellm(shop, env, "litellm disk", {"type": "disk", "disk_cache_dir": "litellm"}),
        *(
            Side(
                name=f"langchain {kind}",
                environment=langchain,
                arguments=("-W", "ignore", "-c", LANGCHAIN_HIT, kind),
                env=env,
                peer=True,
                rounds=3,
            )
            for kind in ("memory", "SQLite")
        ),
    ]
    return Row(title="a cached reply", sides=sides, unit=UNIT, rounds=7)


def _redis(shop: Workshop, env: Mapping[str, str], redis: RedisServer) -> Row:
    cache = {"provider": "redis", "ttl": "1h", "redis": {"url": redis.url, "timeout": "1s"}}
    plain = {**cache, "memory": 0}
    base = Side(
        name="redis-py GET of the same bytes",
        environment=shop.host(),
        arguments=("-c", REDIS_PY, json.dumps(plain)),
        env=env,
    )
    sides = [
        base,
        _host(shop, env, "llmcore, Redis, no memory tier", plain, at_most=1.0),
        _host(shop, env, "llmcore, memory tier before Redis", cache, limit=9.0),
        _litellm(shop, env, "litellm redis", {"type": "redis", "host": "127.0.0.1", "port": str(redis.port)}),
    ]
    return Row(title="a cached reply in Redis", sides=sides, unit=UNIT, rounds=7)


def _host(
    shop: Workshop,
    env: Mapping[str, str],
    name: str,
    cache: Mapping[str, Any],
    *,
    at_most: float | None = None,
    limit: float | None = None,
) -> Side:
    arguments = ("-c", HOST, json.dumps(cache))
    return Side(
        name=name, environment=shop.host(), arguments=arguments, env=env, at_most=at_most, limit=limit
    )


def _litellm(shop: Workshop, env: Mapping[str, str], name: str, cache: Mapping[str, str]) -> Side:
    return Side(
        name=name,
        environment=shop.rival(*LITELLM),
        arguments=("-W", "ignore", "-c", LITELLM_HIT, json.dumps(cache)),
        env={**env, **OFFLINE},
        peer=True,
        rounds=2,
    )
