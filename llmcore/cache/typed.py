"""What cached() returns, for type checkers."""

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
    """A function whose results are kept, and what else can be done with it."""

    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function itself."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the kept result, or make and keep it."""

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Cached[P, R_co]: ...
    @overload
    def __get__(self: Cached[Concatenate[S, Q], R], instance: S, owner: Any = None) -> Cached[Q, R]: ...

    def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function; neither look nor keep."""

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function and keep what it returns, whatever is kept."""

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call, as `CacheManager.get` takes it."""

    def invalidate(self, *args: Any, **kwargs: Any) -> int:
        """Forget the result of this call; without arguments those of all calls. Return how many were forgotten.

        Of a method, the instance is the first argument. What is being run meanwhile is not kept by this process.

        Raises:
            CacheError: All were to be forgotten, and the backend failed.
        """

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> int:
        """See `invalidate`."""


class Decorator(Protocol):
    """What `CacheManager.cached` returns."""

    def __call__(self, function: Callable[P, R], /) -> Cached[P, R]:
        """Return *function*, cached."""
