"""What the conformance kits are built of: calls in both colours, iterators, company, judgement of errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llmcore.errors import ProviderError, StorageNotFound, Unavailable
from llmcore.testing.conformance import Caller, Conformance

Colour = Any


class Backend:
    """Counts how many are inside at once, and whether its streams were closed."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(3)
        self.inside = 0
        self.most = 0
        self.closed: list[str] = []

    def meet(self, name: str) -> str:
        self.barrier.wait(10)  # returns only where three are here at once
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

    async def ahang(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture(params=["sync", "async"])
def kit(request: pytest.FixtureRequest) -> Iterator[Conformance]:
    with asyncio.Runner() as runner:
        conformance = Conformance()
        conformance.caller = Caller(Backend(), request.param, runner, deadline_s=0.5)
        yield conformance


def test_calls_made_together_overlap_and_answer_in_order(kit: Conformance) -> None:
    assert kit.together([("meet", "a"), ("meet", "b"), ("meet", "c")]) == ["a", "b", "c"]
    assert kit.caller.colour == "sync" or kit.caller.provider.most == 3


def test_an_error_among_calls_made_together_is_raised_or_handed_over(kit: Conformance) -> None:
    calls = [("fail", StorageNotFound), ("fail", ValueError)]
    assert [type(error) for error in kit.together(calls, errors=True)] == [StorageNotFound, ValueError]
    with pytest.raises(StorageNotFound):
        kit.together(calls)


def test_a_stream_that_is_read_in_part_is_closed(kit: Conformance) -> None:
    assert kit.collect("stream", 5, limit=2) == [0, 1]
    assert kit.caller.provider.closed == [kit.caller.colour]


def test_the_error_of_a_stream_is_what_it_raises_when_read(kit: Conformance) -> None:
    error = kit.stream_fails(ProviderError, "stream", 2)
    assert isinstance(error, Unavailable)
    with pytest.raises(
        pytest.fail.Exception, match=r"stream\(2\) must raise StorageNotFound, raised Unavailable"
    ):
        kit.stream_fails(StorageNotFound, "stream", 2)


def test_what_is_no_iterator_is_told_so(kit: Conformance) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"must return an (asynchronous )?iterator"):
        kit.collect("numbers")


def test_an_error_of_the_wrong_kind_or_none_fails(kit: Conformance) -> None:
    assert kit.fails(StorageNotFound, "fail", StorageNotFound).message == "it went wrong"
    with pytest.raises(pytest.fail.Exception, match="must raise StorageNotFound, raised KeyError"):
        kit.fails(StorageNotFound, "fail", KeyError)
    with pytest.raises(pytest.fail.Exception, match="raised StorageNotFound without a message"):
        kit.fails(StorageNotFound, "fail", StorageNotFound, " ")


def test_what_never_answers_fails_after_the_deadline() -> None:
    with asyncio.Runner() as runner:
        caller = Caller(Backend(), "async", runner, deadline_s=0.01)
        with pytest.raises(pytest.fail.Exception, match=r"Backend did not answer within 0.01 s"):
            caller.call("hang")


def test_what_blocks_itself_in_threads_fails_after_the_deadline() -> None:
    with asyncio.Runner() as runner:
        caller = Caller(Backend(), "sync", runner, deadline_s=0.01)
        with pytest.raises(pytest.fail.Exception, match="block each other for good"):
            caller.together([("meet", "a"), ("meet", "b")])
        caller.provider.barrier.abort()


def test_an_ability_is_whole_or_absent(kit: Conformance) -> None:
    kit.needs("meet", "stream")
    with pytest.raises(pytest.skip.Exception, match=r"does not offer a?sing, a?dance"):
        kit.needs("sing", "dance")
    with pytest.raises(pytest.fail.Exception, match=r"still to define: a?dance"):
        kit.needs("meet", "dance")
    with pytest.raises(pytest.skip.Exception, match="does not offer sing"):
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
