"""Share one implementation between sync and async. Operations are generators that yield calls of the SDK as steps."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded when a store is first used
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import Any, TypeAlias, TypeVar

import obstore

from llmcore.errors import StorageError
from llmcore_storage_object import feeding, waiting
from llmcore_storage_object.feeding import END
from llmcore_storage_object.waiting import call_interruptibly

__all__ = [
    "END",
    "Step",
    "Work",
    "aiterate",
    "arun",
    "ask",
    "chunk",
    "iterate",
    "one",
    "pause",
    "run",
    "send",
]

T = TypeVar("T")

_used_in = 0


class Step:
    """One call of the SDK, in a blocking and an awaitable form."""

    __slots__ = ("awaiting", "blocking")

    def __init__(self, blocking: Callable[[], Any], awaiting: Callable[[], Awaitable[Any]]) -> None:
        self.blocking = blocking
        self.awaiting = awaiting


Work: TypeAlias = Generator[Step, Any, T]
"""An operation: a generator that yields steps and returns a T."""


def ask(name: str, *args: Any, on: Any = obstore, **options: Any) -> Step:
    """Return a step that calls the SDK's function *name*. The asynchronous driver calls the function `<name>_async`."""
    blocking, awaiting = getattr(on, name), getattr(on, f"{name}_async")
    return Step(
        lambda: call_interruptibly(lambda: blocking(*args, **options)), lambda: awaiting(*args, **options)
    )


def send(store: Any, path: str, pieces: Any, **options: Any) -> Step:
    """Return a step that puts a stream. *pieces* is an iterable for the blocking driver, else an async iterable."""
    return Step(
        lambda: waiting.upload(lambda feed: obstore.put(store, path, feed, **options), iter(pieces)),
        lambda: feeding.upload(lambda feed: obstore.put_async(store, path, feed, **options), aiter(pieces)),
    )


def chunk(stream: Any) -> Step:
    """Return a step that fetches the next item of an SDK stream, or `END`."""

    async def fetch_next() -> Any:
        try:
            return await anext(stream)
        except StopAsyncIteration:
            return END

    return Step(lambda: call_interruptibly(lambda: next(stream, END)), fetch_next)


def one(step: Step) -> Work[Any]:
    """Return an operation of one *step*."""
    return (yield step)


def pause(seconds: float) -> Step:
    """Return a step that sleeps."""
    return Step(lambda: time.sleep(seconds), lambda: asyncio.sleep(seconds))


def run(work: Work[T]) -> T:
    """Run an operation in blocking mode and return its result."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            step = work.send(value) if failure is None else work.throw(failure)
            failure = value = None
            try:
                value = step.blocking()
            except BaseException as raised:  # noqa: BLE001 - passed to the operation, even for Ctrl-C
                failure = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        failure = None  # breaks the reference cycle between this frame and the traceback


async def arun(work: Work[T]) -> T:
    """Run an operation asynchronously and return its result."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            step = work.send(value) if failure is None else work.throw(failure)
            failure = value = None
            try:
                value = await step.awaiting()
            except BaseException as raised:  # noqa: BLE001 - passed to the operation, even for a cancellation
                failure = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        failure = None


def iterate(work: Generator[Any, Any, None]) -> Iterator[bytes]:
    """Run an operation in blocking mode. Execute its steps and yield its other items."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            item = work.send(value) if failure is None else work.throw(failure)
            failure = value = None
            if not isinstance(item, Step):
                yield item
                continue
            try:
                value = item.blocking()
            except BaseException as raised:  # noqa: BLE001 - passed to the operation, even for Ctrl-C
                failure = raised
    except StopIteration:
        return
    finally:
        failure = None
        work.close()


async def aiterate(work: Generator[Any, Any, None]) -> AsyncGenerator[bytes, None]:
    """Run an operation asynchronously. Execute its steps and yield its other items."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            item = work.send(value) if failure is None else work.throw(failure)
            failure = value = None
            if not isinstance(item, Step):
                yield item
                continue
            try:
                value = await item.awaiting()
            except BaseException as raised:  # noqa: BLE001 - passed to the operation, even for a cancellation
                failure = raised
    except StopIteration:
        return
    finally:
        failure = None
        work.close()


def _check_process() -> None:
    """Raise if this process was forked after the first call. The SDK's threads are then missing, and a call would hang."""
    global _used_in
    if _used_in not in (0, os.getpid()):
        raise StorageError(
            "the object store was used before this process was forked, but its client does not survive a fork",
            expected="a first use after the fork, or a process started with spawn",
            fix='multiprocessing.set_start_method("spawn")',
        )
    _used_in = os.getpid()
