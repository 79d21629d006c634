"""Convert the pieces that a call emits. Steps pass through unchanged."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from llmcore.calls.steps import Step

__all__ = ["convert_pieces"]


def convert_pieces(
    call: Generator[Any, Any, Any], convert: Callable[[Any], Iterable[Any]]
) -> Generator[Any, Any, Any]:
    """Run *call*, replace each piece by the pieces that *convert* returns, and return the result of *call*."""
    value: Any = None
    failure: BaseException | None = None
    try:
        while True:
            item = call.send(value) if failure is None else call.throw(failure)
            value = failure = None
            try:
                if type(item) is Step:
                    value = yield item
                else:
                    yield from convert(item)
            except GeneratorExit:
                call.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the exception is thrown into the call
                failure = error
    except StopIteration as stop:
        return stop.value
    finally:
        failure = None  # breaks the reference cycle between frame and traceback
