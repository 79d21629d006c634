"""The base of the conformance kits: sync and async calls, iterators, concurrent calls, checks of errors."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llmcore.errors import ProviderError, StorageNotFound, Unavailable
from llmcore_testing.conformance import Caller, Conformance
from llmcore_testing.conformance.caller import _HUNG
from llmcore_testing.conformance.timing import LoopWatch, Worker

Variant = Any


class Backend:
    """Counts how many are inside at once, and whether its streams were closed."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(3)
        self.released = threading.Event()
        self.inside = 0
        self.most = 0
        self.closed: list[str] = []

    def meet(self, name: str) -> str:
        self.barrier.wait(60)  # returns only where three are here at once
        return name

    async def ameet(self, name: str) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0)
        self.inside -= 1
        return name

    def stream(self, count: int) -> Iterator[int]:
        try:
            yield from range(count)
            raise Unavailable("the stream broke off")
        finally:
            self.closed.append("sync")

    async def astream(self, count: int) -> AsyncIterator[int]:
        try:
            for n in range(count):
                yield n
            raise Unavailable("the stream broke off")
        finally:
            self.closed.append("async")

    def fail(self, kind: type[Exception], message: str = "it went wrong") -> None:
        raise kind(message)

    async def afail(self, kind: type[Exception], message: str = "it went wrong") -> None:
        raise kind(message)

    def numbers(self) -> int:
        return 1

    async def anumbers(self) -> list[int]:
        return [1]

    def hang(self) -> None:
        self.released.wait()

    async def ahang(self) -> None:
        await asyncio.Event().wait()

    def hang_stream(self) -> Iterator[int]:
        yield 1
        self.hang()

    def endless(self) -> Iterator[int]:
        yield from itertools.count()

    async def aendless(self) -> AsyncIterator[int]:
        for n in itertools.count():
            yield n

    async def ablock(self) -> None:
        time.sleep(0.5)  # noqa: ASYNC251 - that is the fault

    async def asleep(self) -> None:
        await asyncio.sleep(0.3)


@pytest.fixture(params=["sync", "async"])
def kit(request: pytest.FixtureRequest) -> Iterator[Conformance]:
    with asyncio.Runner() as runner:
        conformance = Conformance()
        conformance.caller = Caller(Backend(), request.param, runner, deadline_s=60.0)
        yield conformance


def test_calls_made_together_overlap_and_answer_in_order(kit: Conformance) -> None:
    assert kit.together([("meet", "a"), ("meet", "b"), ("meet", "c")]) == ["a", "b", "c"]
    assert kit.caller.variant == "sync" or kit.caller.provider.most == 3


def test_an_error_among_calls_made_together_is_raised_or_handed_over(kit: Conformance) -> None:
    calls = [("fail", StorageNotFound), ("fail", ValueError)]
    assert [type(error) for error in kit.together(calls, errors=True)] == [StorageNotFound, ValueError]
    with pytest.raises(StorageNotFound):
        kit.together(calls)


def test_a_stream_that_is_read_in_part_is_closed(kit: Conformance) -> None:
    assert kit.collect("stream", 5, limit=2) == [0, 1]
    assert kit.caller.provider.closed == [kit.caller.variant]


def test_the_error_of_a_stream_is_what_it_raises_when_read(kit: Conformance) -> None:
    error = kit.stream_fails(ProviderError, "stream", 2)
    assert isinstance(error, Unavailable)
    with pytest.raises(
        pytest.fail.Exception, match=r"stream\(2\) must raise StorageNotFound, raised Unavailable"
    ):
        kit.stream_fails(StorageNotFound, "stream", 2)


def test_a_result_that_is_not_an_iterator_fails(kit: Conformance) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"must return an (asynchronous )?iterator"):
        kit.collect("numbers")


def test_an_error_of_the_wrong_kind_or_none_fails(kit: Conformance) -> None:
    assert kit.fails(StorageNotFound, "fail", StorageNotFound).message == "it went wrong"
    with pytest.raises(pytest.fail.Exception, match="must raise StorageNotFound, raised KeyError"):
        kit.fails(StorageNotFound, "fail", KeyError)
    with pytest.raises(pytest.fail.Exception, match="raised StorageNotFound without a message"):
        kit.fails(StorageNotFound, "fail", StorageNotFound, " ")


def test_a_call_that_hangs_fails_after_the_deadline() -> None:
    with asyncio.Runner() as runner:
        caller = Caller(Backend(), "async", runner, deadline_s=0.01)
        with pytest.raises(pytest.fail.Exception, match=r"Backend.ahang did not return within 0.01 s"):
            caller.call("hang")


def test_a_blocking_call_and_an_iterator_that_hang_fail_after_the_deadline() -> None:
    with asyncio.Runner() as runner:
        caller = Caller(Backend(), "sync", runner, deadline_s=0.01)

        def read_pieces(name: str) -> None:
            assert list(caller.pieces(name))

        calls = (caller.call, "hang"), (caller.collect, "hang_stream"), (read_pieces, "hang_stream")
        for call, name in calls:
            with pytest.raises(pytest.fail.Exception, match=rf"Backend.{name} did not return within 0.01 s"):
                call(name)
        caller._deadline_s = 60.0  # the first was only to be short
        assert caller.call("numbers") == 1, "a call after one that hangs has its own thread"
        caller.provider.released.set()


def test_a_backend_that_hung_once_gets_a_shorter_deadline() -> None:
    class Hanging(Backend):
        """With its own type, since a type is remembered."""

    with asyncio.Runner() as runner:
        caller = Caller(Hanging(), "sync", runner, deadline_s=60.0)
        assert caller.deadline_s == 60.0
        _HUNG.add(Hanging)
        assert caller.deadline_s == 3.0
        assert caller.another(Backend()).deadline_s in (60.0, 3.0)


def test_a_stream_without_end_fails(kit: Conformance) -> None:
    with pytest.raises(pytest.fail.Exception, match="must end, but yielded 20,000 items"):
        kit.collect("endless")


def test_an_asynchronous_call_that_blocks_the_event_loop_is_named() -> None:
    with asyncio.Runner() as runner:
        worker = Worker()
        watch = LoopWatch(worker.thread, 0.05)
        caller = Caller(Backend(), "async", runner, worker, watch, deadline_s=20.0)
        with pytest.raises(
            pytest.fail.Exception, match=r"Backend.ablock blocked the event loop in .*Backend\.ablock"
        ):
            caller.call("block")
        assert caller.call("sleep") is None, "waiting for the event loop does not block it"
        watch.close()
        worker.close()


def test_a_deadlock_of_threads_fails_after_the_deadline() -> None:
    with asyncio.Runner() as runner:
        caller = Caller(Backend(), "sync", runner, deadline_s=0.01)
        with pytest.raises(
            pytest.fail.Exception,
            match=r"2 of 2 concurrent calls of Backend from threads did not return within 0.01 s",
        ):
            caller.together([("meet", "a"), ("meet", "b")])
        caller.provider.barrier.abort()


def test_an_ability_is_whole_or_absent(kit: Conformance) -> None:
    kit.needs("meet", "stream")
    with pytest.raises(pytest.skip.Exception, match=r"does not define a?sing, a?dance"):
        kit.needs("sing", "dance")
    with pytest.raises(pytest.fail.Exception, match=r"define also: a?dance"):
        kit.needs("meet", "dance")
    with pytest.raises(pytest.skip.Exception, match="does not define sing"):
        kit.needs("sing", plain=True)


def test_foreign_exceptions_are_found_along_the_whole_chain() -> None:
    first, second = ValueError("an SDK's"), KeyError("ours, forgotten")
    inner, outer = StorageNotFound("inner"), StorageNotFound("outer")
    assert Conformance.foreign(outer) == []
    inner.__cause__ = inner.__context__ = first
    outer.__cause__ = inner
    assert Conformance.foreign(outer) == [first]
    first.__context__ = second
    outer.__suppress_context__ = True  # what `from None` hides is still there
    assert Conformance.foreign(outer) == [first, second]
