"""Call the sync or the async methods of a backend, so that one test covers both."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only tests import this module
import contextlib
import inspect
import itertools
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from typing import Any, Final, Literal, TypeVar

import pytest

from llmcore_testing.conformance.timing import Hung, LoopWatch, Worker

__all__ = ["Call", "Caller", "Script", "Variant"]

T = TypeVar("T")

Variant = Literal["sync", "async"]
Call = tuple[Any, ...]
"""The sync name of a method, then positional arguments: `("save", key, data)`."""
Script = Generator[Call, Any, Any]
"""A sequence of calls: a generator that yields each call, gets the result or the exception, and returns a value."""


_END = object()
_MAX_ITEMS: Final = 20_000
"""The maximum number of items that an iterator of the backend may yield in a test."""
_LEAST_DEADLINE_S: Final = 2.0
_HUNG: Final[weakref.WeakSet[type]] = weakref.WeakSet()
"""Backend classes with a call that timed out.

The later calls of such a class get a twentieth of the deadline, but at least `_LEAST_DEADLINE_S`. So a backend whose
calls all hang does not make the kit wait for the whole deadline in every test.
"""


class Caller:
    """Calls the methods of one backend. Tests use sync names; the variant "async" calls the async methods.

    All async calls run on one event loop, because a client may be bound to its loop. Calls run in the thread of *worker*,
    except the concurrent calls of the variant "sync", which get a thread each. A call that takes longer than *deadline_s*
    fails the test.
    """

    def __init__(
        self,
        provider: Any,
        variant: Variant,
        runner: asyncio.Runner,
        worker: Worker | None = None,
        watch: LoopWatch | None = None,
        *,
        deadline_s: float = 60.0,
    ) -> None:
        self.provider = provider
        self.variant = variant
        self._deadline_s = deadline_s
        self._runner = runner
        self._worker = Worker() if worker is None else worker
        self._watch = watch

    @property
    def deadline_s(self) -> float:
        """The timeout for each call, in seconds."""
        hung = type(self.provider) in _HUNG
        return (
            min(self._deadline_s, max(_LEAST_DEADLINE_S, self._deadline_s / 20)) if hung else self._deadline_s
        )

    def another(self, provider: Any) -> Caller:
        """Return a caller for a second backend with the same variant, thread and event loop."""
        return Caller(
            provider, self.variant, self._runner, self._worker, self._watch, deadline_s=self._deadline_s
        )

    @contextlib.contextmanager
    def on_another_loop(self) -> Iterator[Caller]:
        """Yield a caller for the same backend on a second event loop in the same thread. Close the loop at the end."""
        runner = asyncio.Runner()
        try:
            yield Caller(
                self.provider, self.variant, runner, self._worker, self._watch, deadline_s=self._deadline_s
            )
        finally:
            if not self._worker.has_hung:
                self.run_bounded(runner.close, "closing an event loop")

    def run_bounded(self, work: Callable[[], T], what: str, margin_s: float = 0.0) -> T:
        """Return the result of *work*. Fail the test if *work* takes longer than the deadline plus *margin_s*."""
        __tracebackhide__ = True
        seconds = self.deadline_s
        try:
            return self._worker.run(work, seconds + margin_s)
        except Hung:
            _HUNG.add(type(self.provider))
        pytest.fail(f"{what} did not return within {seconds:g} s")

    def get_name(self, name: str) -> str:
        """Return the method's name in this variant, such as `get` or `aget`."""
        return name if self.variant == "sync" else f"a{name}"

    def has(self, name: str) -> bool:
        """Return whether the backend has this method in this variant."""
        return callable(getattr(self.provider, self.get_name(name), None))

    def call(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Call the method and return its result."""
        __tracebackhide__ = True
        if self.variant == "sync":
            return self.run_bounded(lambda: self.call_blocking(name, args, options), self._get_label(name))
        return self.run(self.call_async(name, args, options), self._get_label(name))

    def collect(self, name: str, /, *args: Any, limit: int | None = None, **options: Any) -> list[Any]:
        """Call a method that returns an iterator. Return at most *limit* items and close the iterator."""
        __tracebackhide__ = True
        if self.variant == "async":
            return self.run(self._collect_async(name, args, options, limit), self._get_label(name))  # type: ignore[no-any-return]
        return self.run_bounded(lambda: self._collect(name, args, options, limit), self._get_label(name))

    def _collect(
        self, name: str, args: Sequence[Any], options: dict[str, Any], limit: int | None
    ) -> list[Any]:
        __tracebackhide__ = True
        source = self._get_method(name)(*args, **options)
        if not hasattr(source, "__iter__"):
            _discard(source)
            pytest.fail(f"{self._get_label(name)} must return an iterator, got {type(source).__name__}")
        try:
            items = list(itertools.islice(source, _MAX_ITEMS if limit is None else limit))
            if limit is None and len(items) == _MAX_ITEMS:
                pytest.fail(f"{self._get_label(name)} must end, but yielded {_MAX_ITEMS:,} items")
            return items
        finally:
            if hasattr(source, "close"):
                source.close()

    def pieces(self, name: str, /, *args: Any) -> Iterator[Any]:
        """Call a method that returns an iterator. Yield the items, and close the iterator."""
        source = self._get_method(name)(*args)
        try:
            for _ in range(_MAX_ITEMS):
                if (item := self._fetch_next(source, name)) is _END:
                    return
                yield item
            pytest.fail(f"{self._get_label(name)} must end, but yielded {_MAX_ITEMS:,} items")
        finally:
            if self._worker.has_hung:
                pass  # the hanging call still uses the iterator
            elif self.variant == "async" and hasattr(source, "aclose"):
                self.run(_await(source.aclose()), self._get_label(name))
            elif hasattr(source, "close"):
                self.run_bounded(source.close, self._get_label(name))

    def together(self, calls: Sequence[Call], *, errors: bool = False) -> list[Any]:
        """Make all calls concurrently, in threads or tasks. Return the results in order.

        With *errors*, the result of a failed call is its exception. Without *errors*, the first exception is raised.
        """
        __tracebackhide__ = True
        results = self.race([(self, _call_once(call)) for call in calls])
        for result in results:
            if isinstance(result, BaseException) and not (errors and isinstance(result, Exception)):
                raise result
        return results

    def race(self, scripts: Sequence[tuple[Caller, Script]]) -> list[Any]:
        """Run scripts concurrently, in threads or tasks, each with its caller. Return their results or exceptions."""
        __tracebackhide__ = True
        if self.variant == "async":
            return self.run(_gather(scripts))  # type: ignore[no-any-return]
        return self._call_in_threads(scripts)

    def run(self, work: Coroutine[Any, Any, Any], what: str | None = None) -> Any:
        """Run *work* on this test's event loop. Fail the test if *work* blocks the loop or exceeds the deadline."""
        __tracebackhide__ = True
        what = what or type(self.provider).__name__
        seconds = self.deadline_s

        async def run_until_deadline() -> Any:
            task = asyncio.ensure_future(work)
            done, _ = await asyncio.wait({task}, timeout=seconds)
            if not done:
                _HUNG.add(type(self.provider))
                task.cancel()
                await asyncio.wait({task}, timeout=1)
                pytest.fail(f"{what} did not return within {seconds:g} s")
            return task.result()

        watch = self._watch
        try:
            return self.run_bounded(
                lambda: self._runner.run(
                    run_until_deadline() if watch is None else watch.watch(run_until_deadline())
                ),
                what,
                2.0,
            )
        finally:
            if watch is not None and watch.blocked is not None:
                blocked, watch.blocked = watch.blocked, None
                pytest.fail(
                    f"{what} blocked the event loop in {blocked}: await that call, or run it in a thread"
                )

    def close(self) -> None:
        """Close the backend with the `close` or `aclose` of this variant.

        If only the method of the other variant exists, call that method.
        """
        if self._worker.has_hung:  # the hanging call may still use the event loop or the connection
            return
        close, aclose = (getattr(self.provider, name, None) for name in ("close", "aclose"))
        if callable(aclose) and (self.variant == "async" or not callable(close)):
            self.run(_await(aclose()), "aclose")
        elif callable(close):
            self.run_bounded(lambda: _discard(close()), "close")

    def _fetch_next(self, source: Any, name: str) -> Any:
        if self.variant == "sync":
            return self.run_bounded(lambda: next(source, _END), self._get_label(name))

        async def fetch() -> Any:
            return await anext(source, _END)

        return self.run(fetch(), self._get_label(name))

    def _get_label(self, name: str) -> str:
        return f"{type(self.provider).__name__}.{self.get_name(name)}"

    def _get_method(self, name: str) -> Callable[..., Any]:
        method = getattr(self.provider, self.get_name(name), None)
        if not callable(method):
            pytest.fail(f"{type(self.provider).__name__} has no method {self.get_name(name)!r}")
        return method  # type: ignore[no-any-return]

    def call_blocking(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Call a blocking method in this thread."""
        result = self._get_method(name)(*args, **options)
        if inspect.isawaitable(result):
            _discard(result)
            pytest.fail(
                f"{self._get_label(name)} must return a result, not an awaitable; rename an asynchronous method to a{name}"
            )
        return result

    async def call_async(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Call an asynchronous method on the current loop."""
        result = self._get_method(name)(*args, **options)
        if not inspect.isawaitable(result):
            pytest.fail(f"{self._get_label(name)} must be awaitable: write `async def {self.get_name(name)}`")
        return await result

    async def _collect_async(
        self, name: str, args: Sequence[Any], options: dict[str, Any], limit: int | None
    ) -> list[Any]:
        source = self._get_method(name)(*args, **options)
        if not hasattr(source, "__aiter__"):
            _discard(source)
            pytest.fail(f"{self._get_label(name)} must return an asynchronous iterator, without `await`")
        items: list[Any] = []
        try:
            while limit is None or len(items) < limit:
                items.append(await anext(source))
                if len(items) == _MAX_ITEMS:
                    pytest.fail(f"{self._get_label(name)} must end, but yielded {_MAX_ITEMS:,} items")
        except StopAsyncIteration:
            pass
        finally:
            if hasattr(source, "aclose"):
                await source.aclose()
        return items

    def _call_in_threads(self, scripts: Sequence[tuple[Caller, Script]]) -> list[Any]:
        results: list[Any] = [None] * len(scripts)
        start = threading.Barrier(len(scripts))

        def one(index: int) -> None:
            start.wait()
            try:
                results[index] = _run_script(*scripts[index])
            except BaseException as error:  # noqa: BLE001 - the test gets the exception as a result
                results[index] = error

        threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(scripts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.deadline_s)
        if hung := sum(thread.is_alive() for thread in threads):
            pytest.fail(
                f"{hung} of {len(threads)} concurrent calls of {type(self.provider).__name__} from threads did not return within "
                f"{self.deadline_s:g} s: do they wait for a lock or a connection that another call keeps?"
            )
        return results


def _call_once(call: Call) -> Script:
    return (yield call)


def _run_script(caller: Caller, script: Script) -> Any:
    name, *args = next(script)
    while True:
        try:
            try:
                result = caller.call_blocking(name, args, {})
            except Exception as error:  # noqa: BLE001 - the script handles it or raises it
                name, *args = script.throw(error)
            else:
                name, *args = script.send(result)
        except StopIteration as end:
            return end.value


async def _arun_script(caller: Caller, script: Script) -> Any:
    name, *args = next(script)
    while True:
        try:
            try:
                result = await caller.call_async(name, args, {})
            except Exception as error:  # noqa: BLE001 - the script handles it or raises it
                name, *args = script.throw(error)
            else:
                name, *args = script.send(result)
        except StopIteration as end:
            return end.value


async def _gather(scripts: Sequence[tuple[Caller, Script]]) -> list[Any]:
    return await asyncio.gather(*(_arun_script(*one) for one in scripts), return_exceptions=True)


def _discard(result: object) -> None:
    """Close a coroutine that will not be awaited. Otherwise Python would warn about it."""
    if inspect.iscoroutine(result):
        result.close()


async def _await(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
