"""Both colours of a provider's method, whichever of them its author wrote."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from llmcore.calls.steps import Step

__all__ = ["END", "Ability", "Source", "ability", "can"]

END: Final = object()
"""What a `Source` gives after its last piece."""


def can(provider: object, name: str) -> bool:
    """Return whether *provider* has the method in either colour."""
    return callable(getattr(provider, name, None)) or callable(getattr(provider, "a" + name, None))


class Ability:
    """One method of a provider, to be called as a step of either colour."""

    __slots__ = ("_awaiting", "_blocking", "_written")

    def __init__(self, provider: object, name: str) -> None:
        blocking: Any = getattr(provider, name, None)
        awaiting: Any = getattr(provider, "a" + name, None)
        self._written = tuple(method for method in (blocking, awaiting) if method)
        self._blocking: Callable[..., Any] = blocking or _blocking_from(awaiting)
        self._awaiting: Callable[..., Any] = awaiting or _awaiting_from(blocking)

    def __call__(self, *args: Any, **named: Any) -> Step:
        """Return the step that calls the method."""
        if named:
            return Step(partial(self._blocking, **named), partial(self._awaiting, **named), *args)
        return Step(self._blocking, self._awaiting, *args)

    def takes(self, keyword: str) -> bool:
        """Return whether the method names *keyword*, in each colour that its author wrote."""
        return all(_names(method, keyword) for method in self._written)


def ability(provider: object, name: str) -> Ability | None:
    """Return the method of *provider* in both colours, or None where it has neither."""
    return Ability(provider, name) if can(provider, name) else None


class Source:
    """The pieces that a provider's streaming method yields, as steps of either colour."""

    __slots__ = ("_args", "_awaiting", "_blocking", "_named", "_pieces", "close", "next")

    def __init__(self, provider: object, name: str, *args: Any, **named: Any) -> None:
        self._blocking: Any = getattr(provider, name, None)
        self._awaiting: Any = getattr(provider, "a" + name, None)
        self._args, self._named = args, named
        self._pieces: Any = None
        self.next = Step(self._next, self._anext)
        """Opens the stream at its first use; gives a piece, or `END`."""
        self.close = Step(self._close, self._aclose)
        """Ends the request, if it has not ended."""

    def _opened(self) -> Any:
        if self._pieces is None:
            self._pieces = iter(self._blocking(*self._args, **self._named))
        return self._pieces

    def _aopened(self) -> Any:
        if self._pieces is None:
            self._pieces = aiter(self._awaiting(*self._args, **self._named))
        return self._pieces

    def _next(self) -> Any:
        if self._blocking is not None:
            return next(self._opened(), END)
        return _in_loop(_piece, self._aopened())

    async def _anext(self) -> Any:
        if self._awaiting is not None:
            return await anext(self._aopened(), END)
        return await _in_thread(lambda: next(self._opened(), END))

    def _close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        elif (aclose := getattr(self._pieces, "aclose", None)) is not None:
            _in_loop(aclose)

    async def _aclose(self) -> None:
        aclose = getattr(self._pieces, "aclose", None)
        if aclose is not None:
            await aclose()
        elif (close := getattr(self._pieces, "close", None)) is not None:
            await _in_thread(close)


def _names(method: Callable[..., Any], keyword: str) -> bool:
    import inspect

    try:
        found = inspect.signature(method).parameters.get(keyword)
    except (TypeError, ValueError):  # one that tells nothing of itself
        return False
    return found is not None and found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)


async def _piece(pieces: Any) -> Any:
    return await anext(pieces, END)


def _in_loop(function: Callable[..., Any], *args: Any) -> Any:
    from llmcore.calls.loop import run_in_loop

    return run_in_loop(function(*args))


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    import asyncio

    return await asyncio.to_thread(function, *args)


def _blocking_from(awaiting: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: _in_loop(partial(awaiting, **named), *args)


def _awaiting_from(blocking: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: _in_thread(partial(blocking, **named), *args)
