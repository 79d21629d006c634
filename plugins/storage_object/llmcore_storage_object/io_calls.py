"""Share one implementation between sync and async: an operation is a generator that yields the calls that wait."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded when a store is first used
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import Any, TypeAlias, TypeVar

import obstore

from llmcore.errors import StorageError
from llmcore_storage_object import async_uploads, blocking_calls
from llmcore_storage_object.async_uploads import END
from llmcore_storage_object.blocking_calls import call_interruptibly

__all__ = [
    "END",
    "IOCall",
    "Operation",
    "aiterate",
    "arun",
    "ask",
    "fetch_next",
    "iterate",
    "pause",
    "run",
    "send",
    "wrap",
]

T = TypeVar("T")

_used_in = 0


class IOCall:
    """One call that waits, mostly of the SDK, in a blocking and an awaitable form."""

    __slots__ = ("awaiting", "blocking")

    def __init__(self, blocking: Callable[[], Any], awaiting: Callable[[], Awaitable[Any]]) -> None:
        self.blocking = blocking
        self.awaiting = awaiting


Operation: TypeAlias = Generator[IOCall, Any, T]
"""An operation: a generator that yields calls and returns a T."""


def ask(name: str, *args: Any, on: Any = obstore, **options: Any) -> IOCall:
    """Return the call of the SDK's function *name*. The asynchronous driver calls `<name>_async`."""
    blocking, awaiting = getattr(on, name), getattr(on, f"{name}_async")
    return IOCall(
        lambda: call_interruptibly(lambda: blocking(*args, **options)), lambda: awaiting(*args, **options)
    )


def send(store: Any, path: str, pieces: Any, **options: Any) -> IOCall:
    """Return the call that puts a stream. *pieces* is an iterable for the blocking driver, else an async iterable."""
    return IOCall(
        lambda: blocking_calls.upload(lambda feed: obstore.put(store, path, feed, **options), iter(pieces)),
        lambda: async_uploads.upload(
            lambda feed: obstore.put_async(store, path, feed, **options), aiter(pieces)
        ),
    )


def fetch_next(stream: Any) -> IOCall:
    """Return the call that fetches the next item of an SDK stream, or `END`."""

    async def await_next() -> Any:
        try:
            return await anext(stream)
        except StopAsyncIteration:
            return END

    return IOCall(lambda: call_interruptibly(lambda: next(stream, END)), await_next)


def wrap(call: IOCall) -> Operation[Any]:
    """Return an operation of one *call*."""
    return (yield call)


def pause(seconds: float) -> IOCall:
    """Return the call that sleeps."""
    return IOCall(lambda: time.sleep(seconds), lambda: asyncio.sleep(seconds))


def run(operation: Operation[T]) -> T:
    """Run an operation in blocking mode and return its result."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            call = operation.send(value) if failure is None else operation.throw(failure)
            failure = value = None
            try:
                value = call.blocking()
            except BaseException as raised:  # noqa: BLE001 - passed to the operation, even for Ctrl-C
                failure = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        failure = None  # breaks the reference cycle between this frame and the traceback


async def arun(operation: Operation[T]) -> T:
    """Run an operation asynchronously and return its result."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            call = operation.send(value) if failure is None else operation.throw(failure)
            failure = value = None
            try:
                value = await call.awaiting()
            except BaseException as raised:  # noqa: BLE001 - passed to the operation, even for a cancellation
                failure = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        failure = None


def iterate(operation: Generator[Any, Any, None]) -> Iterator[bytes]:
    """Run an operation in blocking mode. Execute its calls and yield its other items."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            item = operation.send(value) if failure is None else operation.throw(failure)
            failure = value = None
            if not isinstance(item, IOCall):
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
        operation.close()


async def aiterate(operation: Generator[Any, Any, None]) -> AsyncGenerator[bytes, None]:
    """Run an operation asynchronously. Execute its calls and yield its other items."""
    _check_process()
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            item = operation.send(value) if failure is None else operation.throw(failure)
            failure = value = None
            if not isinstance(item, IOCall):
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
        operation.close()


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
