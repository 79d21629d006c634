"""One cached function: make keys, look results up, run the function once for all concurrent callers (single-flight)."""

from __future__ import annotations

import copy
import time
import typing
from collections.abc import Callable, Generator
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final, NoReturn

import msgspec

from llmcore.cache.arguments import make_key_function
from llmcore.cache.codec import IMMUTABLE, Codec
from llmcore.cache.entry import Entry, LookUp, pack
from llmcore.cache.function_names import make_name
from llmcore.cache.keys import make_backend_key
from llmcore.cache.refresh import Renewal
from llmcore.cache.tags import normalise_tags
from llmcore.cache.values import Values
from llmcore.calls.steps import Act, Step
from llmcore.errors import CacheError
from llmcore.units import is_part

__all__ = [
    "CachedFunction",
    "CachedOptions",
    "FunctionCall",
    "FunctionResult",
    "run_function",
    "running_keys",
]

running_keys: Final[ContextVar[frozenset[str]]] = ContextVar("llmcore_cached_within", default=frozenset())
"""The keys of the cached calls in which this code runs.

Waiting for one of these calls would be a deadlock.
"""


class CachedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `CacheManager.cached`."""

    ttl: float | None
    key: Callable[..., str] | None
    tags: Any
    condition: Callable[[Any], object] | None
    refresh: float | None
    name: str | None


class FunctionCall(typing.NamedTuple):
    """One call of a cached function."""

    key: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class FunctionResult(typing.NamedTuple):
    """The result of one run. For a generator function, *value* is the list of yielded values."""

    value: Any = None
    data: bytes | None = None
    """The encoded value, which all other callers decode; None if encoding failed."""
    error: Exception | None = None

    def raise_(self) -> NoReturn:
        """Raise the error."""
        error = self.error
        try:
            assert error is not None  # noqa: S101 - for the type checker; it is always true
            raise error
        finally:
            del error, self  # breaks the reference cycle of frame and traceback


class CachedFunction:
    """A cached function."""

    def __init__(
        self, function: Callable[..., Any], values: Values, options: CachedOptions, *, yields: bool
    ) -> None:
        self.function = function
        self.values = values
        self.options = options
        kind = _get_return_type(function)
        if yields:
            self.piece_codec = _make_codec(next(iter(typing.get_args(kind)), Any))
            kind = list[next(iter(typing.get_args(kind)), Any)]  # type: ignore[misc]  # the type is known at run time only
        self.codec = _make_codec(kind)
        self.invalidations = 0
        """The number of invalidations. If this number changes during a run, the result of the run is not cached."""
        self._key_function = options.key or make_key_function(function)
        self.ttl = values.store.ttl if options.ttl is None else options.ttl
        _check_options(options, self.ttl)

    @cached_property
    def prefix(self) -> str:
        """The prefix that the cache keys of this function share."""
        return f"{self.options.name or make_name(self.function)}:"

    def make_key(self, *args: Any, **kwargs: Any) -> str:
        """Return the key of one call."""
        arguments_key = self._key_function(*args, **kwargs)
        if not isinstance(arguments_key, str):
            raise CacheError(
                f"key= of {self.function.__qualname__} must return text, got {arguments_key!r}",
                code="LC703",
                expected="a text",
                fix="@cache.cached(key=lambda user: f'user:{user.id}')",
            )
        return self.prefix + arguments_key

    # -- look up and make

    def look_up(self, call: FunctionCall) -> Act[LookUp]:
        """Look up the result.

        Unusable data is removed from the cache. Otherwise, another process that waits for the result would mistake
        the data for the result and stop waiting.
        """
        found = yield from self.values.look_up(call.key, self.codec)
        if found.unusable:
            yield from self.values.forget(call.key)
        return found

    def is_due(self, found: LookUp) -> bool:
        """Return whether the result is due for a refresh."""
        return found.hit and bool(found.due) and found.due <= time.time()

    def make_renewal(
        self, call: FunctionCall, run: Callable[[], Generator[Any, Any, FunctionResult]]
    ) -> Renewal:
        """Return the `Renewal` that refreshes the result; *run* runs the function."""

        def is_due(kept: bytes) -> Act[bool]:
            return self.is_due((yield from self.values.evaluate(kept, self.codec)))

        def make() -> Act[None]:
            outcome = yield from self.make(call, run, reads=False)
            if outcome.error is not None:
                outcome.raise_()

        return Renewal(make_backend_key(call.key), f"a result of {self.function.__qualname__}", is_due, make)

    def make(
        self, call: FunctionCall, run: Callable[[], Generator[Any, Any, FunctionResult]], *, reads: bool
    ) -> Act[FunctionResult]:
        """Make the result once for all concurrent callers (single-flight); *run* runs the function.

        If the run fails, the callers that waited for it share one further run.
        """
        if call.key in running_keys.get():
            return (yield from run())
        again = True
        while True:
            shared = yield from self.values.flights.join(
                call.key if reads else call.key + " refresh",
                lambda: self.run_and_store(call, run, reads=reads),
            )
            outcome: FunctionResult = shared.value
            if shared.led:
                return outcome
            if outcome.error is None:
                return self._copy_value(outcome)
            if not again:
                return outcome._replace(error=_copy_error(outcome.error))
            again = False

    def run_and_store(
        self, call: FunctionCall, run: Callable[[], Generator[Any, Any, FunctionResult]], *, reads: bool
    ) -> Generator[Any, Any, FunctionResult]:
        """Run the function and cache the result. If another process has the lease, wait for its result."""
        key, held = make_backend_key(call.key), False
        if reads:
            kept, held = yield from self.values.leases.acquire_or_wait(key, lambda: float("inf"))
            if kept is not None:
                found = yield from self.values.evaluate(kept, self.codec)
                if found.hit:
                    return FunctionResult(found.value, self.codec.encode(found.value))
        return (
            yield from self.values.leases.hold(
                key if held else None, self._catch_errors(call, run, replaces=not reads)
            )
        )

    def _catch_errors(
        self, call: FunctionCall, run: Callable[[], Generator[Any, Any, FunctionResult]], *, replaces: bool
    ) -> Generator[Any, Any, FunctionResult]:
        try:
            return (yield from self._run_now(call, run, replaces=replaces))
        except Exception as error:  # noqa: BLE001 - an error of the condition or the codec is raised to every caller
            return FunctionResult(error=error)

    def _run_now(
        self, call: FunctionCall, run: Callable[[], Generator[Any, Any, FunctionResult]], *, replaces: bool
    ) -> Generator[Any, Any, FunctionResult]:
        seen = self._count_invalidations()
        stamps = yield from self.values.tags.get_or_make_stamps(self._list_tags(call))
        outcome: FunctionResult = yield from run()
        if outcome.error is not None:
            return outcome
        wanted = self.options.condition is None or self.options.condition(outcome.value)
        try:
            data = self.codec.encode(outcome.value)
        except CacheError:
            if wanted:
                raise
            return outcome
        if wanted and stamps is not None and seen == self._count_invalidations():
            due = 0.0
            if self.options.refresh is not None and self.ttl is not None:
                due = time.time() + self.options.refresh * self.ttl
            yield from self.values.store.keep(
                make_backend_key(call.key),
                pack(Entry(due, stamps, data)),
                self.options.ttl,
                replaces=replaces,
            )
        return outcome._replace(data=data)

    def _copy_value(self, outcome: FunctionResult) -> FunctionResult:
        """Return *outcome* with a copy of the value for this caller."""
        if outcome.data is None or type(outcome.value) in IMMUTABLE:
            return outcome
        return outcome._replace(value=self.codec.decode(outcome.data)[1])

    def _list_tags(self, call: FunctionCall) -> tuple[str, ...]:
        tags = self.options.tags
        return normalise_tags(tags(*call.args, **call.kwargs) if callable(tags) else tags)

    def _count_invalidations(self) -> tuple[int, int]:
        return self.invalidations, self.values.invalidations

    # -- invalidate

    def invalidate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Act[int]:
        """Remove one result; without arguments, all results."""
        self.invalidations += 1
        if args or kwargs:
            return int((yield from self.values.forget(self.make_key(*args, **kwargs))))
        return (yield from self.values.forget_matching(self.prefix + "*"))


def run_function(function: Callable[..., Any], call: FunctionCall, *, awaits: bool) -> Act[FunctionResult]:
    """Run a function or a coroutine function; return its outcome."""

    def blocking() -> Any:
        token = running_keys.set(running_keys.get() | {call.key})
        try:
            return function(*call.args, **call.kwargs)
        finally:
            running_keys.reset(token)

    async def awaiting() -> Any:
        token = running_keys.set(running_keys.get() | {call.key})
        try:
            return await function(*call.args, **call.kwargs)
        finally:
            running_keys.reset(token)

    try:
        return FunctionResult((yield Step(blocking, awaiting if awaits else None)))
    except Exception as error:  # noqa: BLE001 - the error is raised to the caller later
        return FunctionResult(error=error)


def _copy_error(error: Exception) -> Exception:
    """Return a copy of *error*, because each caller adds a traceback.

    If copying fails, return *error* itself.
    """
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - the constructor of a foreign exception may fail
        return error
    copied.__dict__.update(error.__dict__)
    return copied.with_traceback(None) if type(copied) is type(error) else error


def _get_return_type(function: Callable[..., Any]) -> Any:
    """Return the annotated return type; return Any if there is no annotation or if it contains an unknown name."""
    try:
        return typing.get_type_hints(function).get("return", Any)
    except (NameError, TypeError, AttributeError):
        return Any


def _make_codec(kind: Any) -> Codec:
    try:
        return Codec(kind)
    except (TypeError, NameError, AttributeError):
        return Codec()


def _check_options(options: CachedOptions, ttl: float | None) -> None:
    if not callable(options.tags):
        normalise_tags(options.tags)
    if options.refresh is None:
        return
    if not is_part(options.refresh):
        raise CacheError(
            f"refresh must be a number between 0 and 1, got {options.refresh!r}",
            code="LC702",
            expected="a number between 0 and 1",
            fix='@cache.cached(ttl="1h", refresh=0.8)',
        )
    if ttl is None:
        raise CacheError(
            "refresh= needs ttl=, because refresh is a fraction of the time to live",
            code="LC702",
            fix='@cache.cached(ttl="1h", refresh=0.8)',
        )
