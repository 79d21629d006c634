"""Share one implementation between sync and async: operations yield steps, calls of the SDK, which small drivers execute."""

from __future__ import annotations

import asyncio  # noqa: TID253 - this module is imported when a store is first used
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
    """One call of the SDK, sync and async."""

    __slots__ = ("awaiting", "blocking")

    def __init__(self, blocking: Callable[[], Any], awaiting: Callable[[], Awaitable[Any]]) -> None:
        self.blocking = blocking
        self.awaiting = awaiting


Work: TypeAlias = Generator[Step, Any, T]
"""Yields steps and returns a T."""


def ask(name: str, *args: Any, on: Any = obstore, **options: Any) -> Step:
    """Return the step that calls the SDK's function *name*, or its async variant, with the suffix `_async`."""
    blocking, awaiting = getattr(on, name), getattr(on, f"{name}_async")
    return Step(
        lambda: call_interruptibly(lambda: blocking(*args, **options)), lambda: awaiting(*args, **options)
    )


def send(store: Any, path: str, pieces: Any, **options: Any) -> Step:
    """Return the step that puts a stream: an iterable for a blocking call, an async iterable for an async call."""
    return Step(
        lambda: waiting.upload(lambda feed: obstore.put(store, path, feed, **options), iter(pieces)),
        lambda: feeding.upload(lambda feed: obstore.put_async(store, path, feed, **options), aiter(pieces)),
    )


def chunk(stream: Any) -> Step:
    """Return the step that fetches the next item of a stream of the SDK, or `END`."""

    async def fetch_next() -> Any:
        try:
            return await anext(stream)
        except StopAsyncIteration:
            return END

    return Step(lambda: call_interruptibly(lambda: next(stream, END)), fetch_next)


def one(step: Step) -> Work[Any]:
    """Return an operation that consists of one *step*."""
    return (yield step)


def pause(seconds: float) -> Step:
    """Return the step that waits."""
    return Step(lambda: time.sleep(seconds), lambda: asyncio.sleep(seconds))


def run(work: Work[T]) -> T:
    """Do the *work*, blocking."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            step = work.send(value) if failure is None else work.throw(failure)
            failure = value = None
            try:
                value = step.blocking()
            except BaseException as raised:  # noqa: BLE001 - the work decides, on Ctrl-C too
                failure = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        failure = None  # breaks the reference cycle of frame and traceback


async def arun(work: Work[T]) -> T:
    """Do the *work*, asynchronously."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            step = work.send(value) if failure is None else work.throw(failure)
            failure = value = None
            try:
                value = await step.awaiting()
            except BaseException as raised:  # noqa: BLE001 - the work decides, on cancellation too
                failure = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        failure = None


def iterate(work: Generator[Any, Any, None]) -> Iterator[bytes]:
    """Do the *work*, blocking, and yield the items that are not steps."""
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
            except BaseException as raised:  # noqa: BLE001 - the work decides, on Ctrl-C too
                failure = raised
    except StopIteration:
        return
    finally:
        failure = None
        work.close()


async def aiterate(work: Generator[Any, Any, None]) -> AsyncGenerator[bytes, None]:
    """Do the *work*, asynchronously, and yield the items that are not steps."""
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
            except BaseException as raised:  # noqa: BLE001 - the work decides, on cancellation too
                failure = raised
    except StopIteration:
        return
    finally:
        failure = None
        work.close()


def _check_process() -> None:
    """Raise in a process that was forked after the first use: it has no threads of the SDK, so calls would hang."""
    global _used_in
    if _used_in not in (0, os.getpid()):
        raise StorageError(
            "the object store was used before this process was forked, which its client does not support",
            expected="a first use after the fork, or a process that was spawned",
            fix='multiprocessing.set_start_method("spawn")',
        )
    _used_in = os.getpid()
