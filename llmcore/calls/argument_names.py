"""Report a misspelt keyword of a public function with the nearest name, in place of Python's bare TypeError."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from llmcore.errors import UnknownArgument

__all__ = ["check_argument_names"]

F = TypeVar("F", bound=Callable[..., Any])

_COROUTINE: Final = 0x80
"""The value of `inspect.CO_COROUTINE`. Importing inspect takes longer than a cached answer."""
_LONGEST: Final = 40
"""Maximum length of an argument in the corrected call that an error proposes. A longer argument is shown as "..."."""


def check_argument_names(function: F) -> F:
    """Make *function* raise `UnknownArgument`, which is also a TypeError, for an unknown keyword.

    Type checkers see the signature of *function*. Each call costs one more frame, so do not decorate functions that run
    thousands of times a second.
    """

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except TypeError as error:
            fault = _find_fault(function, args, named) if _is_from_call(error) else None
            if fault is None:
                raise
        raise fault

    @functools.wraps(function)
    async def call_async(*args: Any, **named: Any) -> Any:
        try:
            coroutine = function(*args, **named)
        except TypeError:
            fault = _find_fault(function, args, named)
            if fault is None:
                raise
        else:
            return await coroutine
        raise fault

    is_async = function.__code__.co_flags & _COROUTINE
    return cast("F", call_async) if is_async else cast("F", call)


def _is_from_call(error: TypeError) -> bool:
    """Return whether the call itself raised *error*, before the first line of the function."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None


def _find_fault(
    function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]
) -> UnknownArgument | None:
    """Return the error for the first name of *named* that is not a parameter of *function*.

    Return None if all names are parameters.
    """
    import inspect
    from difflib import get_close_matches

    names = list(inspect.signature(function).parameters)
    known = [name for name in names if name != "self"]
    unknown = next((name for name in named if name not in known), None)
    if unknown is None:
        return None
    near = next(iter(get_close_matches(unknown, known, n=1)), None)
    name = function.__name__
    shown = [_show(value) for value in args[len(names) - len(known) :]]
    shown += [f"{near if each == unknown else each}={_show(value)}" for each, value in named.items()]
    return UnknownArgument(
        f"{name}() does not take `{unknown}`",
        where=f"{name}({unknown}=...)",
        expected=", ".join(known),
        suggestion=near,
        fix=f"{name}({', '.join(shown)})" if near else f"{name}(...) without {unknown}=",
    )


def _show(value: object) -> str:
    """Return *value* as a Python literal; "..." if the literal is long or *value* is not a plain value."""
    text = repr(value) if isinstance(value, str | int | float | None) else "..."
    return text if len(text) <= _LONGEST else "..."
