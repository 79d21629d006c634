"""Calls a backend in one of its colours, so that one test serves both."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only by tests
import inspect
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Literal

import pytest

__all__ = ["Call", "Caller", "Colour"]

Colour = Literal["sync", "async"]
Call = tuple[Any, ...]
"""A method's sync name, then its positional arguments: `("save", key, data)`."""


_END = object()


class Caller:
    """One backend, called by the sync names of its methods whatever its colour.

    All asynchronous calls run on one event loop, because clients may be bound to theirs. Nothing may take
    longer than *deadline_s* seconds; a blocking call is held to that in `together` alone.
    """

    def __init__(
        self, provider: Any, colour: Colour, runner: asyncio.Runner, *, deadline_s: float = 60.0
    ) -> None:
        self.provider = provider
        self.colour = colour
        self.deadline_s = deadline_s
        self._runner = runner

    def spelt(self, name: str) -> str:
        """Return the method's name in this colour."""
        return name if self.colour == "sync" else f"a{name}"

    def has(self, name: str) -> bool:
        """Return whether the backend has the method in this colour."""
        return callable(getattr(self.provider, self.spelt(name), None))

    def call(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Call the method and return its result."""
        __tracebackhide__ = True
        if self.colour == "sync":
            return self._blocking(name, args, options)
        return self.run(self._awaited(name, args, options))

    def collect(self, name: str, /, *args: Any, limit: int | None = None, **options: Any) -> list[Any]:
        """Call a method that returns an iterator; return its items, the first *limit*, then close it."""
        __tracebackhide__ = True
        if self.colour == "async":
            return self.run(self._gathered(name, args, options, limit))  # type: ignore[no-any-return]
        source = self._method(name)(*args, **options)
        if not hasattr(source, "__iter__"):
            _discard(source)
            pytest.fail(f"{self._label(name)} must return an iterator, got {type(source).__name__}")
        try:
            return list(itertools.islice(source, limit))
        finally:
            if hasattr(source, "close"):
                source.close()

    def pieces(self, name: str, /, *args: Any) -> Iterator[Any]:
        """Call a method that returns an iterator, and yield its items one by one; close it at the end."""
        source = self._method(name)(*args)
        try:
            while (item := self._next(source)) is not _END:
                yield item
        finally:
            if self.colour == "async" and hasattr(source, "aclose"):
                self.run(_await(source.aclose()))
            elif hasattr(source, "close"):
                source.close()

    def together(self, calls: Sequence[Call], *, errors: bool = False) -> list[Any]:
        """Make all calls at once, from threads or tasks, and return the results in order.

        With *errors*, a call that raised has its exception as result; else the first one is raised here.
        """
        __tracebackhide__ = True
        results = self._in_threads(calls) if self.colour == "sync" else self.run(self._in_tasks(calls))
        for result in results:
            if isinstance(result, BaseException) and not (errors and isinstance(result, Exception)):
                raise result
        return results

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run *work* to its end on this test's event loop."""
        __tracebackhide__ = True

        async def bounded() -> Any:
            task = asyncio.ensure_future(work)
            done, _ = await asyncio.wait({task}, timeout=self.deadline_s)
            if not done:
                task.cancel()
                await asyncio.wait({task}, timeout=1)
                pytest.fail(f"{type(self.provider).__name__} did not answer within {self.deadline_s:g} s")
            return task.result()

        return self._runner.run(bounded())

    def close(self) -> None:
        """Close the backend by the way that it has: in its colour, else in the other."""
        close, aclose = (getattr(self.provider, name, None) for name in ("close", "aclose"))
        if callable(aclose) and (self.colour == "async" or not callable(close)):
            self.run(_await(aclose()))
        elif callable(close):
            _discard(close())

    def _next(self, source: Any) -> Any:
        if self.colour == "sync":
            return next(source, _END)

        async def fetched() -> Any:
            return await anext(source, _END)

        return self.run(fetched())

    def _label(self, name: str) -> str:
        return f"{type(self.provider).__name__}.{self.spelt(name)}"

    def _method(self, name: str) -> Callable[..., Any]:
        method = getattr(self.provider, self.spelt(name), None)
        if not callable(method):
            pytest.fail(f"{type(self.provider).__name__} has no method {self.spelt(name)!r}")
        return method  # type: ignore[no-any-return]

    def _blocking(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        result = self._method(name)(*args, **options)
        if inspect.isawaitable(result):
            _discard(result)
            pytest.fail(f"{self._label(name)} must block and return; name the asynchronous method a{name}")
        return result

    async def _awaited(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        result = self._method(name)(*args, **options)
        if not inspect.isawaitable(result):
            pytest.fail(f"{self._label(name)} must be awaitable: write `async def {self.spelt(name)}`")
        return await result

    async def _gathered(
        self, name: str, args: Sequence[Any], options: dict[str, Any], limit: int | None
    ) -> list[Any]:
        source = self._method(name)(*args, **options)
        if not hasattr(source, "__aiter__"):
            _discard(source)
            pytest.fail(f"{self._label(name)} must return an asynchronous iterator; it takes no `await`")
        items: list[Any] = []
        try:
            while limit is None or len(items) < limit:
                items.append(await anext(source))
        except StopAsyncIteration:
            pass
        finally:
            if hasattr(source, "aclose"):
                await source.aclose()
        return items

    async def _in_tasks(self, calls: Sequence[Call]) -> list[Any]:
        work = (self._awaited(name, args, {}) for name, *args in calls)
        return await asyncio.gather(*work, return_exceptions=True)

    def _in_threads(self, calls: Sequence[Call]) -> list[Any]:
        results: list[Any] = [None] * len(calls)
        start = threading.Barrier(len(calls))

        def one(index: int) -> None:
            name, *args = calls[index]
            start.wait()
            try:
                results[index] = self._blocking(name, args, {})
            except BaseException as error:  # noqa: BLE001 - it is handed to the test
                results[index] = error

        threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.deadline_s)
        if any(thread.is_alive() for thread in threads):
            pytest.fail(
                f"{type(self.provider).__name__}: calls from several threads block each other for good"
            )
        return results


def _discard(result: object) -> None:
    """Close a coroutine that nobody will await, which Python would warn of."""
    if inspect.iscoroutine(result):
        result.close()


async def _await(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
