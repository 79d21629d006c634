"""The two drivers, blocking and asynchronous, of a plain call and of one that emits its answer in pieces.

All four do the same: carry out each step that the call yields, send the result back, throw in what was raised.
What is thrown in was first let go of, so that an error which the call raises in its place does not hold on to it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeVar

from llmcore.calls.steps import Act, Step

__all__ = ["Abandoned", "aiterate", "arun", "iterate", "run"]

T = TypeVar("T")


class Abandoned(BaseException):
    """The consumer stopped before the end; thrown into a call so that it can close and book what it holds."""


def run(call: Act[T]) -> T:
    """Drive *call* to its end, blocking, and return what it returns."""
    failure: BaseException | None = None
    value: Any = None
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
        failure = None  # else the frame and the traceback would keep each other alive


async def arun(call: Act[T]) -> T:
    """Drive *call* to its end, asynchronously, and return what it returns."""
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            step = call.send(value) if failure is None else call.throw(failure)
            failure = value = None
            try:
                if step.awaiting is None:
                    value = step.blocking(*step.args)
                else:
                    value = await step.awaiting(*step.args)
            except BaseException as raised:  # noqa: BLE001 - the call decides, on cancellation too
                failure = raised
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        failure = None


def iterate(call: Generator[Any, Any, Any]) -> Generator[Any, None, None]:
    """Drive *call*, blocking, and yield what it yields besides steps."""
    failure: BaseException | None = None
    value: Any = None
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
    """Drive *call*, asynchronously, and yield what it yields besides steps."""
    failure: BaseException | None = None
    value: Any = None
    try:
        while True:
            item = call.send(value) if failure is None else call.throw(failure)
            failure = value = None
            try:
                if type(item) is not Step:
                    yield item
                elif item.awaiting is None:
                    value = item.blocking(*item.args)
                else:
                    value = await item.awaiting(*item.args)
            except GeneratorExit:
                failure = Abandoned()
            except BaseException as raised:  # noqa: BLE001 - the call decides, on cancellation too
                failure = raised
    except (StopIteration, Abandoned):
        return
    finally:
        failure = None
