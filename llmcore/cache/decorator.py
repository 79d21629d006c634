"""cached(): keeps what a function returns, by its arguments."""

from __future__ import annotations

import functools
import hashlib
import inspect
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from llmcore.cache.codec import Codec
from llmcore.calls.drivers import arun, run
from llmcore.errors import CacheError

if typing.TYPE_CHECKING:
    from llmcore.cache.manager import CacheManager, Ttl

__all__ = ["cached"]

P = ParamSpec("P")
R = TypeVar("R")

_encoder = msgspec.msgpack.Encoder(order="sorted")


def cached(
    cache: CacheManager, *, ttl: Ttl, key: Callable[..., str] | None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return the decorator that `CacheManager.cached` speaks of."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        named = key or _by_arguments(function)
        prefix = f"{function.__module__}.{function.__qualname__}:"
        codec = Codec(_returned(function))

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                name = prefix + named(*args, **kwargs)
                found, value = await arun(cache.look_up(name, codec))
                if not found:
                    value = await function(*args, **kwargs)
                    await arun(cache.keep(name, value, ttl, codec))
                return value

            return cast("Callable[P, R]", awaited)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            name = prefix + named(*args, **kwargs)
            found, value = run(cache.look_up(name, codec))
            if not found:
                value = function(*args, **kwargs)
                run(cache.keep(name, value, ttl, codec))
            return cast("R", value)

        return called

    return decorate


def _by_arguments(function: Callable[..., Any]) -> Callable[..., str]:
    """Return what makes a key of the arguments: the same for f(1), f(x=1) and a default of 1."""
    signature = inspect.signature(function)

    def named(*args: Any, **kwargs: Any) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        cause = ""
        try:
            data = _encoder.encode([_typed(value) for value in bound.arguments.values()])
            return hashlib.sha256(data).hexdigest()
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            cause = str(error)
        raise CacheError(
            f"the arguments of {function.__qualname__} do not make a key: {cause}",
            code="LC704",
            expected="arguments that are data",
            fix="@cache.cached(key=lambda ...: '...')",
        )

    return named


def _typed(value: object) -> object:
    """Return *value* with its type's name beside it, so that 1, True, 1.0, "1" and (1,) stay apart."""
    return type(value).__qualname__, value


def _returned(function: Callable[..., Any]) -> Any:
    """Return what the function says that it returns; anything where it does not say or the name is not known."""
    try:
        kind = typing.get_type_hints(function).get("return", Any)
        Codec(kind)
    except (NameError, TypeError, AttributeError):
        return Any
    return kind
