"""An event loop that shuts down closes its generators: that must not count as the end of a stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from llmcore.cache import CacheManager
from llmcore.errors import IncompleteReply

LIMIT_S = 20

cache = CacheManager("memory")
joined, closing, finished = threading.Event(), threading.Event(), threading.Event()


@cache.cached()
async def pieces() -> AsyncIterator[int]:
    for number in range(3):
        yield number
        await asyncio.sleep(0)


async def receive() -> list[int]:
    return [piece async for piece in pieces()]


async def hold_open() -> AsyncIterator[None]:
    """Keep the loop running, while it shuts down, until the follower has finished."""
    try:
        yield
    finally:
        await asyncio.sleep(0.01)  # by now the loop has closed the other generators
        closing.set()
        await asyncio.to_thread(finished.wait, LIMIT_S)


async def lead() -> None:
    iterators = [aiter(hold_open()), aiter(pieces())]
    for iterator in iterators:
        await anext(iterator)
    threading.Thread(target=asyncio.run, args=[follow()]).start()
    await asyncio.to_thread(joined.wait, LIMIT_S)
    await asyncio.get_running_loop().shutdown_asyncgens()


answers: list[object] = []


async def follow() -> None:
    try:
        iterator = aiter(pieces())
        received = [await anext(iterator)]
        joined.set()
        await asyncio.to_thread(closing.wait, LIMIT_S)
        answers.append(received + [piece async for piece in iterator])
    except IncompleteReply as error:
        answers.append(error)
    finally:
        finished.set()


def test_a_follower_never_takes_a_closed_generator_for_a_whole_answer() -> None:
    asyncio.run(lead())
    assert finished.wait(LIMIT_S)
    (answer,) = answers
    with pytest.raises(IncompleteReply, match="event loop"):
        raise answer if isinstance(answer, Exception) else AssertionError(f"a cut answer: {answer}")
    assert asyncio.run(receive()) == [0, 1, 2], "an incomplete stream must not be cached"
