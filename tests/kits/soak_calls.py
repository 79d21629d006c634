"""The calls of the soak: prompts with known answers, and cached functions of every kind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

from llmcore.cache import CacheManager


class OwnError(Exception):
    """The error that the soak's cached functions sometimes raise."""


def answer_to(prompt: str) -> str:
    """Return the answer of the upstream: several words, so that a stream has several deltas."""
    return f"It is about {prompt}, and about nothing else. " * 3


def reply(body: Any) -> str:
    """Answer a chat of the simulator."""
    return answer_to(body["messages"][-1]["content"])


def cached_functions(cache: CacheManager, chance: random.Random) -> SimpleNamespace:
    """Return cached functions of every kind. Their results depend on their arguments; sometimes they raise `OwnError`."""

    def fail() -> None:
        if chance.random() < 0.05:
            raise OwnError

    @cache.cached(ttl="1s", refresh=0.3)
    def plain(prompt: str) -> str:
        time.sleep(chance.random() * 0.01)
        fail()
        return answer_to(prompt)

    @cache.cached(ttl="1s", refresh=0.3)
    async def coroutine(prompt: str) -> str:
        await asyncio.sleep(chance.random() * 0.01)
        fail()
        return answer_to(prompt)

    @cache.cached(ttl="1s")
    def pieces(prompt: str) -> Iterator[str]:
        for word in answer_to(prompt).split(" "):
            yield word + " "
        fail()

    @cache.cached(ttl="1s")
    async def apieces(prompt: str) -> AsyncIterator[str]:
        for word in answer_to(prompt).split(" "):
            await asyncio.sleep(0)
            yield word + " "
        fail()

    return SimpleNamespace(plain=plain, coroutine=coroutine, pieces=pieces, apieces=apieces)
