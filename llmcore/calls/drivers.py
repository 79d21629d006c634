"""Drivers: run a call, sync or async, with or without emitted pieces.

All four do the same: run each step that the call yields, send its result back, and throw its exception into the call. A
driver first drops its own reference to the exception. Otherwise an error that the call raises in its place would keep the exception alive.
If a step completes although it was cancelled (`Interrupted`), the call receives the result first. The cancellation is
thrown in at the next yield, before that step starts.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeVar

from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.calls.steps import Act, Interrupted, Step
from llmcore.errors import LLMCoreError

__all__ = ["Abandoned", "aiterate", "arun", "iterate", "run"]

T = TypeVar("T")


class Abandoned(BaseException):
    """The consumer stopped before the end.

    Thrown into a call so that it can close its request and record its cost.
    """


def run(call: Act[T]) -> T:
    """Run *call* in this thread and return its result."""
    failure: BaseException | None = None
    value: Any = None
    with PUBLIC_CALL:
        try:
            while True:
                step = call.send(value) if failure is None else call.throw(failure)
                failure = value = None
                try:
                    value = step.blocking(*step.args)
                except BaseException as raised:  # noqa: BLE001 - the call decides
                    failure = raised
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            failure = None  # break the cycle: the frame and the traceback would keep each other alive


async def arun(call: Act[T]) -> T:
    """Run *call* in the running event loop and return its result.

    Raises:
        LLMCoreError: No asyncio event loop is running in this thread.
    """
    _require_asyncio(call)
    failure: BaseException | None = None
    leaving: BaseException | None = None
    value: Any = None
    with PUBLIC_CALL:
        try:
            while True:
                step = call.send(value) if failure is None else call.throw(failure)
                failure = value = None
                if leaving is not None:
                    failure, leaving = leaving, None
                    continue
                try:
                    if step.awaiting is None:
                        value = step.blocking(*step.args)
                    else:
                        value = await step.awaiting(*step.args)
                except Interrupted as late:
                    value, failure, leaving = late.value, late.error, late.cancellation
                except BaseException as raised:  # noqa: BLE001 - the call decides, on cancellation too
                    failure = raised
        except StopIteration as stop:
            result: T = stop.value
            if leaving is None:
                return result
        finally:
            failure = None
    try:
        raise leaving  # the call ended before it could be thrown in
    finally:
        leaving = None


def iterate(call: Generator[Any, Any, Any]) -> Generator[Any, None, None]:
    """Run *call* in this thread and yield its pieces. A piece is every yielded value that is not a step."""
    failure: BaseException | None = None
    value: Any = None
    with PUBLIC_CALL:
        try:
            while True:
                item = call.send(value) if failure is None else call.throw(failure)
                failure = value = None
                try:
                    if type(item) is Step:
                        value = item.blocking(*item.args)
                    else:
                        yield item
                except GeneratorExit:
                    failure = Abandoned()
                except BaseException as raised:  # noqa: BLE001 - the call decides
                    failure = raised
        except (StopIteration, Abandoned):
            return
        finally:
            failure = None


async def aiterate(call: Generator[Any, Any, Any]) -> AsyncGenerator[Any, None]:
    """Run *call* in the running event loop and yield its pieces; see `iterate` and `arun`."""
    _require_asyncio(call)
    failure: BaseException | None = None
    leaving: BaseException | None = None
    value: Any = None
    with PUBLIC_CALL:
        try:
            while True:
                item = call.send(value) if failure is None else call.throw(failure)
                failure = value = None
                if leaving is not None:
                    failure, leaving = leaving, None
                    continue
                try:
                    if type(item) is not Step:
                        yield item
                    elif item.awaiting is None:
                        value = item.blocking(*item.args)
                    else:
                        value = await item.awaiting(*item.args)
                except GeneratorExit:
                    failure = Abandoned()
                except Interrupted as late:
                    value, failure, leaving = late.value, late.error, late.cancellation
                except BaseException as raised:  # noqa: BLE001 - the call decides, on cancellation too
                    failure = raised
        except (StopIteration, Abandoned):
            pass
        finally:
            failure = None
    if leaving is None:
        return
    try:
        raise leaving  # the call ended before it could be thrown in
    finally:
        leaving = None


def _require_asyncio(call: Generator[Any, Any, Any]) -> None:
    """Raise LLMCoreError, before the call starts, under trio or without an event loop."""
    asyncio: Any = sys.modules.get("asyncio")  # a running event loop has already imported asyncio
    if asyncio is not None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return
    call.close()
    trio: Any = sys.modules.get("trio")
    in_trio = trio is not None and trio.lowlevel.in_trio_run()
    raise LLMCoreError(
        f"asynchronous methods need a running event loop of asyncio, got {'trio' if in_trio else 'none'}",
        code="LC003",
        expected="asyncio, or the blocking methods, which need no event loop",
        fix="await trio.to_thread.run_sync(core.llm.chat, prompt)" if in_trio else "asyncio.run(main())",
    )
