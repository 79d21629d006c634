"""An author writes one variant; both can be called."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from llmcore.calls.backend import Backend
from llmcore.calls.bridges import END, PieceStream, find_ability
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.loop import run_in_loop
from llmcore.calls.steps import Step
from llmcore.hookspecs import Provider


class OnlySync:
    def twice(self, number: int) -> int:
        return 2 * number

    def count(self, end: int) -> Iterator[int]:
        yield from range(end)


class OnlyAsync:
    closed = 0

    async def atwice(self, number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def acount(self, end: int) -> AsyncIterator[int]:
        try:
            for number in range(end):
                await asyncio.sleep(0)
                yield number
        finally:
            self.closed += 1


class Both(OnlySync, OnlyAsync):
    pass


providers = pytest.mark.parametrize(
    "provider", [OnlySync(), OnlyAsync(), Both()], ids=lambda p: type(p).__name__
)


def asking(provider: object, number: int) -> Generator[Step, Any, int]:
    twice = find_ability(provider, "twice")
    assert twice is not None
    result: int = yield twice(number)
    return result


def counting(provider: object, end: int) -> Generator[Any, Any, None]:
    source = PieceStream(provider, "count", end)
    try:
        while (piece := (yield source.next)) is not END:
            yield piece
    finally:
        yield source.close


@providers
def test_a_method_of_either_variant_is_called_in_both(provider: object) -> None:
    assert run(asking(provider, 4)) == 8
    assert asyncio.run(arun(asking(provider, 4))) == 8


@providers
def test_a_stream_of_either_variant_is_read_in_both(provider: object) -> None:
    async def collect() -> list[int]:
        return [piece async for piece in aiterate(counting(provider, 3))]

    assert list(iterate(counting(provider, 3))) == [0, 1, 2]
    assert asyncio.run(collect()) == [0, 1, 2]


def test_a_missing_method_is_none() -> None:
    assert find_ability(Both(), "thrice") is None


def test_a_blocking_call_of_an_asynchronous_provider_works_inside_a_running_loop() -> None:
    async def main() -> int:
        return run(asking(OnlyAsync(), 5))

    assert asyncio.run(main()) == 10


def test_an_asynchronous_stream_read_blocking_and_left_early_is_closed() -> None:
    provider = OnlyAsync()
    stream = iterate(counting(provider, 100))
    assert next(stream) == 0
    stream.close()
    assert provider.closed == 1


def test_the_bridge_works_again_in_a_forked_child() -> None:
    assert run(asking(OnlyAsync(), 1)) == 2  # the loop's thread exists and will be missing in the child
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(run(asking(OnlyAsync(), 21))).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as result:
        assert result.read() == "42"


class NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return {}


def test_a_backend_that_is_collected_in_the_background_loop_does_not_hold_it_up() -> None:
    closed = threading.Event()

    class Closes:
        async def aclose(self) -> None:
            closed.set()

    async def drop_backend() -> None:
        backend = Backend("storage", Provider(name="closes", create=lambda _: Closes()), NoOptions())
        assert backend.provider
        del backend  # here, in the loop's own thread, it is closed

    run_in_loop(drop_backend())
    assert closed.wait(60)


def test_a_backend_that_is_collected_waits_for_nothing_that_the_same_thread_holds() -> None:
    at_work, closed = threading.Lock(), threading.Event()

    class Closes:
        def close(self) -> None:
            with at_work:
                closed.set()

    backend = Backend("storage", Provider(name="closes", create=lambda _: Closes()), NoOptions())
    assert backend.provider
    with at_work:
        del backend
        assert not closed.is_set()
    assert closed.wait(60)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_backend_that_raises_an_exit_does_not_end_the_background_loop(error: type[BaseException]) -> None:
    async def leave() -> None:
        raise error

    with pytest.raises(error):
        run_in_loop(leave())
    assert run_in_loop(OnlyAsync().atwice(21)) == 42
