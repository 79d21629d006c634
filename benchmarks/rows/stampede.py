"""200 identical concurrent calls that are not cached, with an upstream that takes 200 ms: the number of requests to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.clients import TOGETHER, UPSTREAM
from benchmarks.environments import Environment
from benchmarks.harness import Row, Side, Workshop
from benchmarks.peers import AIOCACHE, CASHEWS, DISKCACHE, LANGCHAIN, LITELLM, OFFLINE
from benchmarks.upstream import serve
from llmcore_testing.redis_server import RedisServer

DELAY_S = 0.2
CALLS = 200

PROGRAM = f"""
{TOGETHER}
{UPSTREAM}
import asyncio, http.client, json, threading, time
from urllib.parse import urlsplit

how, settings, CALLS = sys.argv[1], json.loads(sys.argv[2]), {CALLS}
question = sys.argv[3] if sys.argv[3:] else os.urandom(8).hex()  # which no cache knows
base_url = os.environ["OPENAI_BASE_URL"]
ADDRESS = urlsplit(base_url).netloc
BODY = json.dumps({{"model": "gpt-4o-mini", "messages": []}}).encode()

def post(question):
    connection = http.client.HTTPConnection(ADDRESS, timeout=60)
    connection.request("POST", "/v1/chat/completions", BODY)
    answer = json.load(connection.getresponse())
    connection.close()
    return answer["choices"][0]["message"]["content"]

async def apost(question):
    reader, writer = await asyncio.open_connection(*ADDRESS.split(":"))
    writer.write(b"POST / HTTP/1.1\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(BODY), BODY))
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
    writer.close()
    return json.loads(body)["choices"][0]["message"]["content"]

def in_threads(count, ask):
    answers, line = [], threading.Barrier(count)
    def one():
        line.wait()
        answers.append(ask())
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == count and all(answers), "not every call was answered"

async def in_tasks(count, ask):
    assert all(await asyncio.gather(*(ask() for _ in range(count))))

#ASK

before = posts()
if how == "threads":
    in_threads(CALLS, ask)
elif how == "tasks":
    asyncio.run(in_tasks(CALLS, aask))
elif how == "worker":
    ready()
    in_threads(CALLS // 8, ask)
    print("done")
else:
    together(8, "worker", sys.argv[2], question)
if how != "worker":
    print(posts() - before)
"""

HOST = """
import llmcore
core = llmcore.load({"llm": {"provider": "openai", "model": "gpt-4o-mini"}, "cache": settings})
ask = lambda: core.llm.chat(question, temperature=0.5).text
aask = lambda: core.llm.achat(question, temperature=0.5)
"""
LITELLM_ASK = """
import litellm
from litellm.caching.caching import Cache
litellm.cache = Cache(**settings)
ASK = dict(
    model="openai/gpt-4o-mini", messages=[{"role": "user", "content": question}],
    temperature=0.5, caching=True, api_base=base_url,
)
ask = lambda: litellm.completion(**ASK)
aask = lambda: litellm.acompletion(**ASK)
"""
LANGCHAIN_ASK = """
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_openai import ChatOpenAI
set_llm_cache(InMemoryCache())
model = ChatOpenAI(model="gpt-4o-mini", temperature=0.5)
ask = lambda: model.invoke(question)
aask = lambda: model.ainvoke(question)
"""
HOST_CACHED = """
from llmcore.cache import CacheManager
cache = CacheManager(**settings)
kept, akept = cache.cached(ttl=60)(post), cache.cached(ttl=60)(apost)
ask, aask = lambda: kept(question), lambda: akept(question)
"""
DISKCACHE_ASK = """
import diskcache
cache = diskcache.Cache("diskcache", timeout=60)
kept = diskcache.memoize_stampede(cache, expire=60) if settings["how"] == "memoize_stampede" else cache.memoize(expire=60)
kept = kept(post)
if settings["how"] == "barrier":
    kept = diskcache.barrier(cache, diskcache.Lock)(kept)
ask = lambda: kept(question)
"""
AIOCACHE_ASK = """
import aiocache
kept = getattr(aiocache, settings["how"])(ttl=60)(apost)
aask = lambda: kept(question)
"""
CASHEWS_ASK = """
from cashews import cache
cache.setup(settings["url"])
kept = cache(ttl="1m", lock=settings["lock"])(apost)
ask, aask = None, lambda: kept(question)
if how == "worker":
    in_threads = lambda count, ask: asyncio.run(in_tasks(count, aask))
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Count the requests that reach the upstream in each case."""
    with (
        TemporaryDirectory(prefix="llmcore-bench-") as folder,
        serve(DELAY_S) as address,
        RedisServer(Path(folder)) as redis,
    ):
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": address}
        yield list(_make_rows(_Sides(shop, env), redis))


class _Sides:
    """Creates the sides of all rows."""

    def __init__(self, shop: Workshop, env: Mapping[str, str]) -> None:
        self._env = env
        self._host = shop.host()
        self._peers = {
            "litellm": shop.rival(*LITELLM),
            "langchain": shop.rival(*LANGCHAIN),
            "diskcache": shop.rival(*DISKCACHE),
            "aiocache": shop.rival(*AIOCACHE),
            "cashews": shop.rival(*CASHEWS),
        }

    def chats(self, how: str, cache: Mapping[str, Any]) -> Side:
        """Return the side that calls a model through llmcore, which promises one request."""
        return self._side("llmcore chat", self._host, HOST, how, cache, limit=1)

    def functions(self, how: str, cache: Mapping[str, Any]) -> Side:
        """Return the side that calls a function cached by llmcore, which promises one request too."""
        return self._side("llmcore cached()", self._host, HOST_CACHED, how, cache, limit=1)

    def peer(self, name: str, ask: str, how: str, settings: Mapping[str, Any]) -> Side:
        """Return the side of another library, the first word of *name*."""
        return self._side(name, self._peers[name.partition(" ")[0]], ask, how, settings, peer=True)

    def _side(
        self,
        name: str,
        where: Environment | str,
        ask: str,
        how: str,
        settings: Mapping[str, Any],
        *,
        limit: float | None = None,
        peer: bool = False,
    ) -> Side:
        return Side(
            name=name,
            environment=where,
            arguments=("-W", "ignore", "-c", PROGRAM.replace("#ASK", ask), how, json.dumps(settings)),
            env={**self._env, **OFFLINE},
            limit=limit,
            peer=peer,
        )


def _make_rows(sides: _Sides, redis: RedisServer) -> Iterator[Row]:
    chats, functions, peer = sides.chats, sides.functions, sides.peer
    memory = {"provider": "memory", "ttl": "1h"}
    yield _make_row(
        "threads, memory",
        chats("threads", memory),
        functions("threads", {"backend": "memory"}),
        peer("litellm local", LITELLM_ASK, "threads", {"type": "local"}),
        peer("langchain InMemoryCache", LANGCHAIN_ASK, "threads", {}),
    )
    yield _make_row(
        "tasks, memory",
        chats("tasks", memory),
        functions("tasks", {"backend": "memory"}),
        peer("litellm local", LITELLM_ASK, "tasks", {"type": "local"}),
        peer("langchain InMemoryCache", LANGCHAIN_ASK, "tasks", {}),
        peer("aiocache cached", AIOCACHE_ASK, "tasks", {"how": "cached"}),
        peer("aiocache cached_stampede", AIOCACHE_ASK, "tasks", {"how": "cached_stampede"}),
        peer("cashews", CASHEWS_ASK, "tasks", {"url": "mem://", "lock": False}),
        peer("cashews lock", CASHEWS_ASK, "tasks", {"url": "mem://", "lock": True}),
    )
    hows = ("memoize", "memoize_stampede", "barrier")
    yield _make_row(
        "8 processes, file",
        chats("processes", {"provider": "file", "ttl": "1h", "file": {"cache_dir": "cache"}}),
        functions("processes", {"backend": "file", "cache_dir": "functions"}),
        peer("litellm disk", LITELLM_ASK, "processes", {"type": "disk", "disk_cache_dir": "litellm"}),
        *(peer(f"diskcache {how}", DISKCACHE_ASK, "processes", {"how": how}) for how in hows),
    )
    options = {"url": redis.url, "timeout": "1s", "connect_timeout": "1s"}
    at = {"type": "redis", "host": "127.0.0.1", "port": str(redis.port)}
    yield _make_row(
        "8 processes, Redis",
        chats("processes", {"provider": "redis", "ttl": "1h", "redis": options}),
        functions("processes", {"backend": "redis", **options}),
        peer("litellm redis", LITELLM_ASK, "processes", at),
        peer("cashews", CASHEWS_ASK, "processes", {"url": redis.url, "lock": False}),
        peer("cashews lock", CASHEWS_ASK, "processes", {"url": redis.url, "lock": True}),
    )


def _make_row(title: str, *sides: Side) -> Row:
    return Row(
        title=f"{CALLS} identical cold calls, {title}",
        sides=sides,
        unit="calls that reach the upstream",
        rounds=1,
        exact=True,
    )
