"""What the soak asks: prompts whose answers are known, and cached functions of every kind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

from llmcore.cache import CacheManager


class OwnError(Exception):
    """What the soak's own cached functions raise now and then."""


def answer_to(prompt: str) -> str:
    """Return what the upstream answers: some words, so that a stream has several pieces."""
    return f"It is about {prompt}, and about nothing else. " * 3


def reply(body: Any) -> str:
    """Answer a chat of the simulator."""
    return answer_to(body["messages"][-1]["content"])


def cached_functions(cache: CacheManager, chance: random.Random) -> SimpleNamespace:
    """Return cached functions of every kind, whose results their arguments tell; now and then they raise `OwnError`."""

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
