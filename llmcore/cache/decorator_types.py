"""The types of cached(), for type checkers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

__all__ = ["Cached", "Decorator"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)


class Cached(Protocol[P, R_co]):
    """A cached function with its additional methods."""

    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The original function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the cached result, or compute and cache it."""

    @overload  # for a class method: `@classmethod` above `@cache.cached()`
    def __get__(
        self: Cached[Concatenate[type[S], Q], R], instance: S | None, owner: type[S]
    ) -> Cached[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: Any = None) -> Cached[P, R_co]: ...
    @overload
    def __get__(self: Cached[Concatenate[S, Q], R], instance: S, owner: Any = None) -> Cached[Q, R]: ...

    def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function without the cache."""

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function and cache the result, replacing the old result."""

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call, for `CacheManager.get`."""

    def invalidate(self, *args: Any, **kwargs: Any) -> int:
        """Remove the result of this call; without arguments, the results of all calls. Return their number.

        For a method, the instance is the first argument. If a call is running during the invalidation, this process
        does not cache the result of that call.

        Raises:
            CacheError: Called without arguments, and the backend failed. A failure for one result is only logged.
        """

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> int:
        """See `invalidate`."""


class Decorator(Protocol):
    """The result of `CacheManager.cached`."""

    def __call__(self, function: Callable[P, R], /) -> Cached[P, R]:
        """Return *function*, cached."""
