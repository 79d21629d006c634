"""cached(): cache the results of a function by its arguments."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any

from llmcore.cache.decorator_types import Decorator
from llmcore.cache.function import CachedFunction, CachedOptions, FunctionCall, FunctionResult, run_function
from llmcore.cache.pieces import CachedPieces
from llmcore.cache.recent_hits import MISSED, RecentHits
from llmcore.cache.values import Values
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import CacheError

__all__ = ["CachedOptions", "make_decorator"]

Wrappers = tuple[Callable[..., Any], Callable[..., Any]]
"""The wrapper that replaces the cached function, and the function to set as the wrapper's attribute `refresh`."""


def make_decorator(values: Values, options: CachedOptions) -> Decorator:
    """Return the decorator of `CacheManager.cached`."""

    def decorate(function: Any) -> Any:
        if isinstance(function, staticmethod | classmethod):
            return type(function)(decorate(function.__func__))
        if not isinstance(function, FunctionType):
            raise CacheError(
                f"cached() must decorate a function, got {type(function).__name__}",
                code="LC705",
                expected="a function, coroutine function, generator function or method",
                fix="@cache.cached()\ndef f(...): ...",
            )
        generator, agenerator = inspect.isgeneratorfunction(function), inspect.isasyncgenfunction(function)
        cached = CachedFunction(function, values, options, yields=generator or agenerator)
        if generator:
            wrapper, refresh = _wrap_generator_function(cached)
        elif agenerator:
            wrapper, refresh = _wrap_async_generator_function(cached)
        elif inspect.iscoroutinefunction(function):
            wrapper, refresh = _wrap_coroutine_function(cached)
        else:
            wrapper, refresh = _wrap_function(cached)
        return _add_methods(functools.wraps(function)(wrapper), refresh, cached)

    return decorate


def _add_methods(wrapper: Any, refresh: Callable[..., Any], cached: CachedFunction) -> Any:
    def invalidate(*args: Any, **kwargs: Any) -> int:
        return run(cached.invalidate(args, kwargs))

    async def ainvalidate(*args: Any, **kwargs: Any) -> int:
        return await arun(cached.invalidate(args, kwargs))

    wrapper.invalidate, wrapper.ainvalidate = invalidate, ainvalidate
    wrapper.refresh, wrapper.uncached, wrapper.cache_key = refresh, cached.function, cached.make_key
    return wrapper


def _wrap_function(cached: CachedFunction) -> Wrappers:
    def run_once(call: FunctionCall) -> Act[FunctionResult]:
        return run_function(cached.function, call, awaits=False)

    recent_hits = RecentHits(cached.values.store)
    spots, find, store, hit = (
        recent_hits.spots,
        recent_hits.find,
        cached.values.store,
        cached.values.store.stats.record_hit,
    )

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:  # same as `RecentHits.find`, without the cost of a call
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
        call = FunctionCall(cached.make_key(*args, **kwargs), args, kwargs)
        return _unwrap(run(_get_or_make(cached, call, run_once, recent_hits)))

    def refresh(*args: Any, **kwargs: Any) -> Any:
        call = FunctionCall(cached.make_key(*args, **kwargs), args, kwargs)
        return _unwrap(run(cached.make(call, lambda: run_once(call), reads=False)))

    return wrapper, refresh


def _wrap_coroutine_function(cached: CachedFunction) -> Wrappers:
    def run_once(call: FunctionCall) -> Act[FunctionResult]:
        return run_function(cached.function, call, awaits=True)

    recent_hits = RecentHits(cached.values.store)
    spots, find, store, hit = (
        recent_hits.spots,
        recent_hits.find,
        cached.values.store,
        cached.values.store.stats.record_hit,
    )

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:  # same as `RecentHits.find`, without the cost of a call
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
        call = FunctionCall(cached.make_key(*args, **kwargs), args, kwargs)
        return _unwrap(await arun(_get_or_make(cached, call, run_once, recent_hits)))

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        call = FunctionCall(cached.make_key(*args, **kwargs), args, kwargs)
        return _unwrap(await arun(cached.make(call, lambda: run_once(call), reads=False)))

    return wrapper, refresh


def _wrap_generator_function(cached: CachedFunction) -> Wrappers:
    pieces = CachedPieces(cached, awaits=False)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        yield from pieces.iterate(FunctionCall(cached.make_key(*args, **kwargs), args, kwargs))

    def refresh(*args: Any, **kwargs: Any) -> Any:
        yield from pieces.iterate(FunctionCall(cached.make_key(*args, **kwargs), args, kwargs), reads=False)

    return wrapper, refresh


def _wrap_async_generator_function(cached: CachedFunction) -> Wrappers:
    pieces = CachedPieces(cached, awaits=True)

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        async with contextlib.aclosing(
            pieces.aiterate(FunctionCall(cached.make_key(*args, **kwargs), args, kwargs))
        ) as stream:
            async for piece in stream:
                yield piece

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        call = FunctionCall(cached.make_key(*args, **kwargs), args, kwargs)
        async with contextlib.aclosing(pieces.aiterate(call, reads=False)) as stream:
            async for piece in stream:
                yield piece

    return wrapper, refresh


def _get_or_make(
    cached: CachedFunction,
    call: FunctionCall,
    run_once: Callable[[FunctionCall], Act[FunctionResult]],
    recent_hits: RecentHits,
) -> Act[FunctionResult]:
    """Return the cached result, or run the function and cache the result."""
    found = yield from cached.look_up(call)
    if not found.hit:
        return (yield from cached.make(call, lambda: run_once(call), reads=True))
    if cached.is_due(found):
        yield cached.values.refresher.make_step(cached.make_renewal(call, lambda: run_once(call)))
    else:
        recent_hits.learn(call.args, call.kwargs, call.key, found)
    return FunctionResult(found.value)


def _unwrap(outcome: FunctionResult) -> Any:
    if outcome.error is not None:
        outcome.raise_()
    return outcome.value
