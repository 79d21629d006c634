"""The bridge between sync and async: call either variant of a provider's method.

The provider may implement only one of the two variants.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from llmcore.calls.steps import Step

__all__ = ["END", "Ability", "PieceStream", "find_ability", "has_method", "is_closed"]

END: Final = object()
"""The value that a `PieceStream` returns after the last piece."""


def has_method(provider: object, name: str) -> bool:
    """Return whether *provider* has the method, sync or async."""
    return callable(getattr(provider, name, None)) or callable(getattr(provider, "a" + name, None))


class Ability:
    """One method of a provider, callable as a sync or async step."""

    __slots__ = ("_awaiting", "_blocking", "_written")

    def __init__(self, provider: object, name: str) -> None:
        blocking: Any = getattr(provider, name, None)
        awaiting: Any = getattr(provider, "a" + name, None)
        self._written = tuple(method for method in (blocking, awaiting) if method)
        self._blocking: Callable[..., Any] = blocking or _make_blocking(awaiting)
        self._awaiting: Callable[..., Any] = awaiting or _make_awaiting(blocking)

    def __call__(self, *args: Any, **named: Any) -> Step:
        """Return the step that calls the method."""
        if named:
            return Step(partial(self._blocking, **named), partial(self._awaiting, **named), *args)
        return Step(self._blocking, self._awaiting, *args)

    def has_parameter(self, keyword: str) -> bool:
        """Return whether the method has the parameter *keyword*, in each variant that exists."""
        return all(_has_parameter(method, keyword) for method in self._written)


def find_ability(provider: object, name: str) -> Ability | None:
    """Return the method *name* of *provider*; None if *provider* has neither variant."""
    return Ability(provider, name) if has_method(provider, name) else None


class PieceStream:
    """Iterates over the pieces of a provider's streaming method, as sync or async steps."""

    __slots__ = ("_args", "_awaiting", "_blocking", "_named", "_pieces", "close", "next")

    def __init__(self, provider: object, name: str, *args: Any, **named: Any) -> None:
        self._blocking: Any = getattr(provider, name, None)
        self._awaiting: Any = getattr(provider, "a" + name, None)
        self._args, self._named = args, named
        self._pieces: Any = None
        self.next = Step(self._next, self._anext)
        """A step that returns the next piece, or `END`. The first run opens the stream."""
        self.close = Step(self._close, self._aclose)
        """A step that ends an unfinished request."""

    def _open(self) -> Any:
        if self._pieces is None:
            self._pieces = iter(self._blocking(*self._args, **self._named))
        return self._pieces

    def _aopen(self) -> Any:
        if self._pieces is None:
            self._pieces = aiter(self._awaiting(*self._args, **self._named))
        return self._pieces

    def _next(self) -> Any:
        if self._blocking is not None:
            return next(self._open(), END)
        return _run_in_loop(_fetch_next, self._aopen())

    async def _anext(self) -> Any:
        if self._awaiting is not None:
            pieces = self._aopen()
            if is_closed(pieces):
                raise ConnectionAbortedError("the event loop of the stream is shutting down")
            return await anext(pieces, END)
        return await _run_in_worker(lambda: next(self._open(), END))

    def _close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        elif (aclose := getattr(self._pieces, "aclose", None)) is not None:
            _run_in_loop(aclose)

    async def _aclose(self) -> None:
        aclose = getattr(self._pieces, "aclose", None)
        if aclose is not None:
            await aclose()
        elif (close := getattr(self._pieces, "close", None)) is not None:
            await _run_in_worker(close)


def is_closed(pieces: Any) -> bool:
    """Return whether an async generator was closed before its end.

    An event loop that shuts down closes its generators, including those of shared calls. A caller on another loop must not
    mistake the closed generator for the end of the stream.
    """
    return getattr(pieces, "ag_frame", pieces) is None


def _has_parameter(method: Callable[..., Any], keyword: str) -> bool:
    import inspect

    try:
        found = inspect.signature(method).parameters.get(keyword)
    except (TypeError, ValueError):  # some C functions have no signature
        return False
    return found is not None and found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)


async def _fetch_next(pieces: Any) -> Any:
    return await anext(pieces, END)


def _run_in_loop(function: Callable[..., Any], *args: Any) -> Any:
    from llmcore.calls.loop import run_in_loop

    return run_in_loop(function(*args))


def _run_in_worker(function: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    from llmcore.calls.worker_threads import run_in_worker

    return run_in_worker(function, *args)


def _make_blocking(awaiting: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: _run_in_loop(partial(awaiting, **named), *args)


def _make_awaiting(blocking: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: _run_in_worker(partial(blocking, **named), *args)
