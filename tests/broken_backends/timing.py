"""Backends with faults of time, under the kits; test_conformance_timing.py runs this file."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llmcore.types import ChatRequest, Delta, Reply, Usage
from llmcore_testing.conformance import CacheConformance, LLMConformance


class Model:
    """Correct."""

    def make_reply(self, request: ChatRequest) -> Reply:
        text = str(request.messages[-1].get("content")) if request.messages else "nothing"
        text = text.encode("utf-8", "replace").decode() or "nothing"
        usage = Usage(input_tokens=1 + len(text.split()), output_tokens=1 + len(text.split()))
        return Reply(text=text, model="parrot", usage=usage)

    async def acomplete(self, request: ChatRequest) -> Reply:
        await asyncio.sleep(0)
        return self.make_reply(request)

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        reply = self.make_reply(request)
        half = len(reply.text) // 2
        yield Delta(text=reply.text[:half])
        yield Delta(text=reply.text[half:])
        yield Delta(finish_reason="stop", usage=reply.usage)


class BlocksTheLoop(Model):
    """xorbitsai/xagent#108: calls a blocking client in a coroutine."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        time.sleep(0.4)  # noqa: ASYNC251 - that is the fault
        return self.make_reply(request)


class SwallowsCancellation(Model):
    """jd/tenacity#186: catches CancelledError to retry."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        for _ in range(100):
            try:
                await asyncio.sleep(0)
                break
            except asyncio.CancelledError:
                await asyncio.sleep(30)
        return self.make_reply(request)


class TranslatesCancellation(Model):
    """inclusionAI/Avernet#1203: makes an error of every BaseException."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        try:
            await asyncio.sleep(0)
        except BaseException:  # noqa: BLE001 - that is the fault
            raise RuntimeError("the request failed") from None
        return self.make_reply(request)


class KeepsItsConnectionAfterCancellation(Model):
    """encode/httpcore#658: does not return a connection to its pool if the task is cancelled meanwhile."""

    def __init__(self) -> None:
        self.free = 1

    async def acomplete(self, request: ChatRequest) -> Reply:
        while not self.free:  # noqa: ASYNC110 - a small pool
            await asyncio.sleep(0.001)
        self.free -= 1
        await asyncio.sleep(0)
        self.free += 1
        return self.make_reply(request)


class KeepsALockOfTheFirstLoop(Model):
    """topoteretes/cognee#2938: one asyncio.Lock for good; it belongs to the loop in which a task first waited for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    async def acomplete(self, request: ChatRequest) -> Reply:
        async with self.lock:
            await asyncio.sleep(0)
            return self.make_reply(request)


class KeepsTheFirstLoop(Model):
    """BerriAI/litellm#15294: its client lives in the event loop of the first call."""

    loop: asyncio.AbstractEventLoop | None = None

    async def acomplete(self, request: ChatRequest) -> Reply:
        self.loop = self.loop or asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = self.loop.create_future()
        self.loop.call_soon(lambda: None if answer.done() else answer.set_result(self.make_reply(request)))
        return await answer


class StreamsWithoutEnd(Model):
    """diegosouzapw/OmniRoute#6777: never sees the end of the upstream's events."""

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        for _ in itertools.count():
            yield Delta(text=self.make_reply(request).text)


class HangingModel:
    """ziatdinovmax/SciLink#652: blocking; waits for ever for what does not come."""

    def complete(self, request: ChatRequest) -> Reply:
        if len(request.messages) > 1:
            threading.Event().wait()
        return Model().make_reply(request)


class HangingStream(HangingModel):
    """librefang/librefang#2421: the same within a stream."""

    def complete(self, request: ChatRequest) -> Reply:
        return Model().make_reply(request)

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        yield Delta(text="It ")
        threading.Event().wait()
        yield Delta(finish_reason="stop", usage=self.complete(request).usage)


class Cache:
    """Correct, asynchronous."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, float | None]] = {}

    async def aget(self, key: str) -> bytes | None:
        value, ends = self.entries.get(key, (None, None))
        return None if ends is not None and ends <= time.monotonic() else value

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.entries[key] = (value, None if ttl is None else time.monotonic() + ttl)

    async def adelete(self, key: str) -> bool:
        there = await self.aget(key) is not None
        self.entries.pop(key, None)
        return there

    async def aclear(self) -> None:
        self.entries.clear()


class KeepsItsLockAfterCancellation(Cache):
    """redis/redis-py#3847: releases its lock at the end, and not in `finally`."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self.lock.acquire()
        await asyncio.sleep(0)
        await super().aset(key, value, ttl)
        self.lock.release()


class WaitsForALockInTheLoop(Cache):
    """Guards its entries with a lock of threads, and holds it while it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        with self.lock:
            await asyncio.sleep(0)
            await super().aset(key, value, ttl)


class OfModels(LLMConformance):
    backend: type = Model
    deadline_s = 3.0
    blocking_s = 0.2

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class OfCaches(CacheConformance):
    backend: type = Cache
    deadline_s = 3.0

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class TestModel(OfModels):
    """Every test applies but those of the other variant."""


class TestCache(OfCaches):
    backend = Cache


for _kit, _backends in {
    OfModels: (
        BlocksTheLoop, KeepsALockOfTheFirstLoop, KeepsTheFirstLoop, SwallowsCancellation, TranslatesCancellation, KeepsItsConnectionAfterCancellation,
        StreamsWithoutEnd, HangingModel, HangingStream,
    ),
    OfCaches: (KeepsItsLockAfterCancellation, WaitsForALockInTheLoop),
}.items():  # fmt: skip
    for _backend in _backends:
        globals()[f"Test{_backend.__name__}"] = type(
            f"Test{_backend.__name__}", (_kit,), {"backend": _backend}
        )
