"""A driver runs a call: `run` and `arun` return its result, `iterate` and `aiterate` yield its pieces.

A driver runs each step that the call yields. It sends the step's result into the call, or throws the step's
exception. After the throw, the driver drops its own reference to the exception. Otherwise, the frame of the driver and
the traceback of the exception would keep each other alive.

A step can complete although its task was cancelled (`Interrupted`). The driver then sends the result into the call
first, and throws the cancellation at the next yield of the call.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, TypeVar

from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.calls.steps import Act, Interrupted, Step
from llmcore.errors import LLMCoreError

__all__ = ["Abandoned", "aiterate", "arun", "iterate", "run"]

T = TypeVar("T")


class Abandoned(BaseException):
    """The consumer stopped early. Thrown into a call, so that the call closes its request and records the cost."""


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
                except BaseException as raised:  # noqa: BLE001 - the exception is thrown into the call
                    failure = raised
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            failure = None  # breaks the reference cycle between frame and traceback


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
                except BaseException as raised:  # noqa: BLE001 - every exception is thrown into the call, also a cancellation
                    failure = raised
        except StopIteration as stop:
            result: T = stop.value
            if leaving is None:
                return result
        finally:
            failure = None
    try:
        raise leaving  # the call ended before the driver could throw the cancellation
    finally:
        leaving = None


def iterate(
    call: Generator[Any, Any, Any], keep: Callable[[Any], object] | None = None
) -> Generator[Any, None, None]:
    """Run *call* in this thread and yield its pieces: all yielded values except steps.

    If *keep* is given, yield only the pieces for which *keep* returns true.
    """
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
                    elif keep is None or keep(item):
                        yield item
                except GeneratorExit:
                    failure = Abandoned()
                except BaseException as raised:  # noqa: BLE001 - the exception is thrown into the call
                    failure = raised
        except (StopIteration, Abandoned):
            return
        finally:
            failure = None


async def aiterate(  # noqa: C901, PLR0912 - one branch for each outcome of a step
    call: Generator[Any, Any, Any], keep: Callable[[Any], object] | None = None
) -> AsyncGenerator[Any, None]:
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
                        if keep is None or keep(item):
                            yield item
                    elif item.awaiting is None:
                        value = item.blocking(*item.args)
                    else:
                        value = await item.awaiting(*item.args)
                except GeneratorExit:
                    failure = Abandoned()
                except Interrupted as late:
                    value, failure, leaving = late.value, late.error, late.cancellation
                except BaseException as raised:  # noqa: BLE001 - every exception is thrown into the call, also a cancellation
                    failure = raised
        except (StopIteration, Abandoned):
            pass
        finally:
            failure = None
    if leaving is None:
        return
    try:
        raise leaving  # the call ended before the driver could throw the cancellation
    finally:
        leaving = None


def _require_asyncio(call: Generator[Any, Any, Any]) -> None:
    """Raise LLMCoreError if no asyncio event loop runs in this thread, for example under trio."""
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
