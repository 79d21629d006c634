"""Distinguish exceptions that stop a program or a task from exceptions that report a failure of foreign code.

`except Exception` is not enough for native code: a panic of an extension written in Rust is a BaseException.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

__all__ = ["Interrupted", "is_interrupt", "must_propagate"]

_OWNERS: Final = frozenset(
    {"_pytest", "asyncio", "curio", "eventlet", "gevent", "greenlet", "llmcore", "trio"}
)
"""Packages whose BaseExceptions are control flow: a cancelled task, an expired timeout, `pytest.skip()`."""


class Interrupted(BaseException):
    """A step completed although its task was cancelled.

    The step raises this exception for the driver. The driver sends the result of the step into the call, and throws the
    cancellation at the next yield of the call.
    """

    def __init__(self, value: Any, error: Exception | None, cancellation: asyncio.CancelledError) -> None:
        super().__init__()
        self.value = value
        self.error = error
        self.cancellation = cancellation


def is_interrupt(error: BaseException) -> bool:
    """Return whether *error* must be raised again unchanged: Ctrl-C, an exit, a closed generator, a cancelled task.

    The result is False for every subclass of Exception. It is also False for a BaseException that is none of the above,
    such as a panic in an extension written in Rust::

        except BaseException as error:
            if is_interrupt(error):
                raise
    """
    if isinstance(error, Exception):
        return False
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_interrupt, error.exceptions))
    return any(_get_package(kind) in _OWNERS for kind in type(error).__mro__)


def must_propagate(error: BaseException) -> bool:
    """Return whether *error* of a plugin's method must be raised again: an interrupt that is not a plugin's exit."""
    return is_interrupt(error) and not _is_plugin_exit(error)


def _is_plugin_exit(error: BaseException) -> bool:
    """Return whether *error*, which a plugin's method raised, is an exit by the plugin's own code.

    The host treats such an exit as a failure of the plugin.

    If such an exit were raised again, `sys.exit(0)` in a plugin would end the program of its user with
    success and without a message. A SystemExit of the program's own signal handler is not a plugin's exit,
    even if a plugin's method runs at that moment. This function recognizes it by a frame of the handler in
    the traceback.
    """
    if not isinstance(error, SystemExit):
        return False
    handlers = _get_handlers()
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code in handlers:
            return False
        step = step.tb_next
    return True


def _get_handlers() -> set[Any]:
    """Return the code objects of all signal handlers that are written in Python."""
    import signal

    codes = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # a functools.partial has the function in `func`
        call = handler if hasattr(handler, "__code__") else getattr(type(handler), "__call__", None)  # noqa: B004 - the code object of the method is needed
        codes.add(getattr(call, "__code__", None))
    return codes - {None}


def _get_package(kind: type) -> str:
    package = kind.__module__.partition(".")[0]
    return "llmcore" if package.startswith("llmcore_") else package
