"""cached(): keeps what a function returns, by its arguments."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any

from llmcore.cache.function import CachedFunction, Call, Options, Outcome, calling
from llmcore.cache.pieces import Pieces
from llmcore.cache.shortcut import MISSED, Shortcut
from llmcore.cache.typed import Decorator
from llmcore.cache.values import Values
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import CacheError

__all__ = ["Options", "decorator"]

Made = tuple[Callable[..., Any], Callable[..., Any]]
"""The wrapper, and its `refresh`."""


def decorator(values: Values, options: Options) -> Decorator:
    """Return the decorator that `CacheManager.cached` speaks of."""

    def decorate(function: Any) -> Any:
        if isinstance(function, staticmethod | classmethod):
            return type(function)(decorate(function.__func__))
        if not isinstance(function, FunctionType):
            raise CacheError(
                f"cached() does not take a {type(function).__name__}",
                code="LC705",
                expected="a function, coroutine function, generator function or method",
                fix="@cache.cached()\ndef f(...): ...",
            )
        generator, agenerator = inspect.isgeneratorfunction(function), inspect.isasyncgenfunction(function)
        cached = CachedFunction(function, values, options, yields=generator or agenerator)
        if generator:
            wrapper, refresh = _generator(cached)
        elif agenerator:
            wrapper, refresh = _async_generator(cached)
        elif inspect.iscoroutinefunction(function):
            wrapper, refresh = _coroutine(cached)
        else:
            wrapper, refresh = _plain(cached)
        return _furnished(functools.wraps(function)(wrapper), refresh, cached)

    return decorate


def _furnished(wrapper: Any, refresh: Callable[..., Any], cached: CachedFunction) -> Any:
    def invalidate(*args: Any, **kwargs: Any) -> int:
        return run(cached.invalidated(args, kwargs))

    async def ainvalidate(*args: Any, **kwargs: Any) -> int:
        return await arun(cached.invalidated(args, kwargs))

    wrapper.invalidate, wrapper.ainvalidate = invalidate, ainvalidate
    wrapper.refresh, wrapper.uncached, wrapper.cache_key = refresh, cached.function, cached.key
    return wrapper


def _plain(cached: CachedFunction) -> Made:
    def once(call: Call) -> Act[Outcome]:
        return calling(cached.function, call, awaits=False)

    shortcut = Shortcut(cached.values.store)
    spots, find, store, hit = (
        shortcut.spots,
        shortcut.find,
        cached.values.store,
        cached.values.store.stats.hit,
    )

    def called(*args: Any, **kwargs: Any) -> Any:
        try:  # as `Shortcut.find` does it, without the price of a call
            spot = None if kwargs else spots.get(args)
        except TypeError:
            spot = None
        if spot is not None:
            lone, kinds, key, kept, value, due = spot
            if (
                (type(args[0]) is lone if lone else kinds == (*map(type, args),))
                and store.peek(key) is kept
                and (not due or time.time() < due)
            ):
                hit()
                return value
        if kwargs and (value := find(args, kwargs)) is not MISSED:
            return value
        call = Call(cached.key(*args, **kwargs), args, kwargs)
        return _value(run(_life(cached, call, once, shortcut)))

    def refresh(*args: Any, **kwargs: Any) -> Any:
        call = Call(cached.key(*args, **kwargs), args, kwargs)
        return _value(run(cached.made(call, lambda: once(call), reads=False)))

    return called, refresh


def _coroutine(cached: CachedFunction) -> Made:
    def once(call: Call) -> Act[Outcome]:
        return calling(cached.function, call, awaits=True)

    shortcut = Shortcut(cached.values.store)
    spots, find, store, hit = (
        shortcut.spots,
        shortcut.find,
        cached.values.store,
        cached.values.store.stats.hit,
    )

    async def awaited(*args: Any, **kwargs: Any) -> Any:
        try:  # as `Shortcut.find` does it, without the price of a call
            spot = None if kwargs else spots.get(args)
        except TypeError:
            spot = None
        if spot is not None:
            lone, kinds, key, kept, value, due = spot
            if (
                (type(args[0]) is lone if lone else kinds == (*map(type, args),))
                and store.peek(key) is kept
                and (not due or time.time() < due)
            ):
                hit()
                return value
        if kwargs and (value := find(args, kwargs)) is not MISSED:
            return value
        call = Call(cached.key(*args, **kwargs), args, kwargs)
        return _value(await arun(_life(cached, call, once, shortcut)))

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        call = Call(cached.key(*args, **kwargs), args, kwargs)
        return _value(await arun(cached.made(call, lambda: once(call), reads=False)))

    return awaited, refresh


def _generator(cached: CachedFunction) -> Made:
    pieces = Pieces(cached, awaits=False)

    def iterated(*args: Any, **kwargs: Any) -> Any:
        yield from pieces.each(Call(cached.key(*args, **kwargs), args, kwargs))

    def refresh(*args: Any, **kwargs: Any) -> Any:
        yield from pieces.each(Call(cached.key(*args, **kwargs), args, kwargs), reads=False)

    return iterated, refresh


def _async_generator(cached: CachedFunction) -> Made:
    pieces = Pieces(cached, awaits=True)

    async def iterated(*args: Any, **kwargs: Any) -> Any:
        async with contextlib.aclosing(
            pieces.aeach(Call(cached.key(*args, **kwargs), args, kwargs))
        ) as all_of_them:
            async for piece in all_of_them:
                yield piece

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        call = Call(cached.key(*args, **kwargs), args, kwargs)
        async with contextlib.aclosing(pieces.aeach(call, reads=False)) as all_of_them:
            async for piece in all_of_them:
                yield piece

    return iterated, refresh


def _life(
    cached: CachedFunction, call: Call, once: Callable[[Call], Act[Outcome]], shortcut: Shortcut
) -> Act[Outcome]:
    """Return the kept result, or have it made."""
    found = yield from cached.found(call)
    if not found.hit:
        return (yield from cached.made(call, lambda: once(call), reads=True))
    if cached.is_due(found):
        yield cached.values.refresher.step(cached.renewal(call, lambda: once(call)))
    else:
        shortcut.learn(call.args, call.kwargs, call.key, found)
    return Outcome(found.value)


def _value(outcome: Outcome) -> Any:
    if outcome.error is not None:
        outcome.raise_()
    return outcome.value
