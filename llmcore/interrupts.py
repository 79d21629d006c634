"""Distinguish exceptions that stop a program or a task from exceptions that report a failure of foreign code.

`except Exception` is not enough for native code: a panic of an extension written in Rust is a BaseException.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_interrupt"]

_OWNERS: Final = frozenset(
    {"_pytest", "asyncio", "curio", "eventlet", "gevent", "greenlet", "llmcore", "trio"}
)
"""Packages whose BaseExceptions are control flow: a cancelled task, an expired timeout, `pytest.skip()`."""


def is_interrupt(error: BaseException) -> bool:
    """Return whether *error* must be raised again unchanged: Ctrl-C, an exit, a closed generator, a cancelled task.

    Return False for every Exception, and for every other BaseException, such as a panic in an extension written in Rust::

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


def _get_package(kind: type) -> str:
    package = kind.__module__.partition(".")[0]
    return "llmcore" if package.startswith("llmcore_") else package
