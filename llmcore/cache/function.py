"""One cached function: its keys, and how a result is looked up, made once for all who ask, and kept."""

from __future__ import annotations

import copy
import time
import typing
from collections.abc import Callable, Generator
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final, NoReturn

import msgspec

from llmcore.cache.arguments import named_by_arguments
from llmcore.cache.codec import IMMUTABLE, Codec
from llmcore.cache.entry import Entry, Found, pack
from llmcore.cache.keys import backend_key
from llmcore.cache.naming import name_of
from llmcore.cache.refresh import Renewal
from llmcore.cache.tags import listed
from llmcore.cache.values import Values
from llmcore.calls.steps import Act, Step
from llmcore.errors import CacheError
from llmcore.units import is_part

__all__ = ["CachedFunction", "Call", "Options", "Outcome", "calling", "within"]

within: Final[ContextVar[frozenset[str]]] = ContextVar("llmcore_cached_within", default=frozenset())
"""Keys of the calls that the running code is part of: whoever waited for one of them would wait for itself."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `CacheManager.cached` was told."""

    ttl: float | None
    key: Callable[..., str] | None
    tags: Any
    condition: Callable[[Any], object] | None
    refresh: float | None
    name: str | None


class Call(typing.NamedTuple):
    """One call of a cached function."""

    key: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Outcome(typing.NamedTuple):
    """What running the function came to; of a generator function *value* is the list of what it yielded."""

    value: Any = None
    data: bytes | None = None
    """The value, encoded, for all others who get it; None where it cannot be."""
    error: Exception | None = None

    def raise_(self) -> NoReturn:
        """Raise the error."""
        error = self.error
        try:
            assert error is not None  # noqa: S101 - for the type checker
            raise error
        finally:
            del error, self  # else the frame and the traceback would keep each other alive


class CachedFunction:
    """What all calls of one cached function share."""

    def __init__(
        self, function: Callable[..., Any], values: Values, options: Options, *, yields: bool
    ) -> None:
        self.function = function
        self.values = values
        self.options = options
        kind = _returned(function)
        if yields:
            self.piece_codec = _codec(next(iter(typing.get_args(kind)), Any))
            kind = list[next(iter(typing.get_args(kind)), Any)]  # type: ignore[misc]  # a type known at run time
        self.codec = _codec(kind)
        self.invalidations = 0
        """What began before one of them is not kept after it."""
        self._named = options.key or named_by_arguments(function)
        self.ttl = values.store.ttl if options.ttl is None else options.ttl
        _checked(options, self.ttl)

    @cached_property
    def prefix(self) -> str:
        """What the keys of all its calls begin with."""
        return f"{self.options.name or name_of(self.function)}:"

    def key(self, *args: Any, **kwargs: Any) -> str:
        """Return the key of one call."""
        named = self._named(*args, **kwargs)
        if not isinstance(named, str):
            raise CacheError(
                f"the key= of {self.function.__qualname__} returned {named!r}",
                code="LC703",
                expected="a text",
                fix="@cache.cached(key=lambda user: f'user:{user.id}')",
            )
        return self.prefix + named

    # -- looking and making

    def found(self, call: Call) -> Act[Found]:
        """Look the result up; what is there and of no use is removed, so that nobody waits for it."""
        found = yield from self.values.look_up(call.key, self.codec)
        if found.unusable:
            yield from self.values.forget(call.key)
        return found

    def is_due(self, found: Found) -> bool:
        """Return whether the result is to be made anew while it is still served."""
        return found.hit and bool(found.due) and found.due <= time.time()

    def renewal(self, call: Call, run: Callable[[], Generator[Any, Any, Outcome]]) -> Renewal:
        """Return how the result is made anew; *run* runs the function."""

        def due(kept: bytes) -> Act[bool]:
            return self.is_due((yield from self.values.opened(kept, self.codec)))

        def make() -> Act[None]:
            outcome = yield from self.made(call, run, reads=False)
            if outcome.error is not None:
                outcome.raise_()

        return Renewal(backend_key(call.key), f"a result of {self.function.__qualname__}", due, make)

    def made(
        self, call: Call, run: Callable[[], Generator[Any, Any, Outcome]], *, reads: bool
    ) -> Act[Outcome]:
        """Have the result made once for all who ask for it now; *run* runs the function.

        Whoever followed another caller's run that failed tries once itself.
        """
        if call.key in within.get():
            return (yield from run())
        again = True
        while True:
            landed = yield from self.values.flights.together(
                call.key if reads else call.key + " refresh", lambda: self.work(call, run, reads=reads)
            )
            outcome: Outcome = landed.value
            if landed.led:
                return outcome
            if outcome.error is None:
                return self._copied(outcome)
            if not again:
                return outcome._replace(error=_copy(outcome.error))
            again = False

    def work(
        self, call: Call, run: Callable[[], Generator[Any, Any, Outcome]], *, reads: bool
    ) -> Generator[Any, Any, Outcome]:
        """Run the function, unless another process does, and keep what it returns."""
        key = backend_key(call.key)
        if reads:
            kept = yield from self.values.leases.lead(key, lambda: float("inf"))
            if kept is not None:
                found = yield from self.values.opened(kept, self.codec)
                if found.hit:
                    return Outcome(found.value, self.codec.encode(found.value))
        try:
            outcome = yield from self._made_now(call, run)
        except Exception as error:  # noqa: BLE001 - a condition's, or what cannot be kept: every caller is told
            outcome = Outcome(error=error)
        except GeneratorExit:  # which allows no further step
            self.values.leases.forgo(key)
            raise
        except BaseException:
            yield from self.values.leases.give_back(key)
            raise
        if reads:
            yield from self.values.leases.give_back(key)
        return outcome

    def _made_now(
        self, call: Call, run: Callable[[], Generator[Any, Any, Outcome]]
    ) -> Generator[Any, Any, Outcome]:
        seen = self._marks()
        stamps = yield from self.values.tags.taken(self._tags(call))
        outcome: Outcome = yield from run()
        if outcome.error is not None:
            return outcome
        wanted = self.options.condition is None or self.options.condition(outcome.value)
        try:
            data = self.codec.encode(outcome.value)
        except CacheError:
            if wanted:
                raise
            return outcome
        if wanted and stamps is not None and seen == self._marks():
            due = 0.0
            if self.options.refresh is not None and self.ttl is not None:
                due = time.time() + self.options.refresh * self.ttl
            yield from self.values.store.keep(
                backend_key(call.key), pack(Entry(due, stamps, data)), self.options.ttl
            )
        return outcome._replace(data=data)

    def _copied(self, outcome: Outcome) -> Outcome:
        """Return it with a value of the caller's own."""
        if outcome.data is None or type(outcome.value) in IMMUTABLE:
            return outcome
        return outcome._replace(value=self.codec.decode(outcome.data)[1])

    def _tags(self, call: Call) -> tuple[str, ...]:
        tags = self.options.tags
        return listed(tags(*call.args, **call.kwargs) if callable(tags) else tags)

    def _marks(self) -> tuple[int, int]:
        return self.invalidations, self.values.invalidations

    # -- forgetting

    def invalidated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Act[int]:
        """Forget one result, or all of them where nothing tells which."""
        self.invalidations += 1
        if args or kwargs:
            return int((yield from self.values.forget(self.key(*args, **kwargs))))
        return (yield from self.values.matching(self.prefix + "*"))


def calling(function: Callable[..., Any], call: Call, *, awaits: bool) -> Act[Outcome]:
    """Run a function or a coroutine function."""

    def blocking() -> Any:
        token = within.set(within.get() | {call.key})
        try:
            return function(*call.args, **call.kwargs)
        finally:
            within.reset(token)

    async def awaiting() -> Any:
        token = within.set(within.get() | {call.key})
        try:
            return await function(*call.args, **call.kwargs)
        finally:
            within.reset(token)

    try:
        return Outcome((yield Step(blocking, awaiting if awaits else None)))
    except Exception as error:  # noqa: BLE001 - it is the caller's, who is told
        return Outcome(error=error)


def _copy(error: Exception) -> Exception:
    """Return a copy, since every caller adds its own traceback; itself, where its class does not allow one."""
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - a stranger's constructor
        return error
    copied.__dict__.update(error.__dict__)
    return copied.with_traceback(None) if type(copied) is type(error) else error


def _returned(function: Callable[..., Any]) -> Any:
    """Return what the function says that it returns; anything, where it does not say or the name is not known."""
    try:
        return typing.get_type_hints(function).get("return", Any)
    except (NameError, TypeError, AttributeError):
        return Any


def _codec(kind: Any) -> Codec:
    try:
        return Codec(kind)
    except (TypeError, NameError, AttributeError):
        return Codec()


def _checked(options: Options, ttl: float | None) -> None:
    if not callable(options.tags):
        listed(options.tags)
    if options.refresh is None:
        return
    if not is_part(options.refresh):
        raise CacheError(
            f"not a part of the time to live: refresh={options.refresh!r}",
            code="LC702",
            expected="a number between 0 and 1",
            fix='@cache.cached(ttl="1h", refresh=0.8)',
        )
    if ttl is None:
        raise CacheError(
            "refresh= needs a time to live, of which it is a part",
            code="LC702",
            fix='@cache.cached(ttl="1h", refresh=0.8)',
        )
