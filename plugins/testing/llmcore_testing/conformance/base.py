"""The base class of the conformance kits: the `provider` fixture, sync and async calls, and assertions about errors."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only tests import this module
import inspect
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import pytest

from llmcore.errors import LLMCoreError
from llmcore.support.sending import Sending
from llmcore_testing.conformance.caller import Call, Caller, Script, Variant
from llmcore_testing.conformance.optional_tests import OptionalParts
from llmcore_testing.conformance.timing import KitThread, LoopWatch, Worker

__all__ = ["Conformance"]

E = TypeVar("E", bound=BaseException)


class Conformance(OptionalParts):
    """The base class of the kits.

    A subclass of a kit overrides the fixture `provider` to return the backend. Each test runs with the sync and the async
    methods, if the backend has them::

        class TestMine(StorageConformance):
            @pytest.fixture
            def provider(self, tmp_path):
                return MyStorage(tmp_path)

    The fixture may also return a coroutine. The kit awaits it on the event loop of the test. After each test, the kit calls
    the backend's `close` or `aclose`, if it has one.
    """

    kind: ClassVar[str] = "backend"
    """The kind of backend, for messages."""
    must: ClassVar[tuple[str, ...]] = ()
    """The required methods, by their sync names."""
    example: ClassVar[str] = "MyProvider()"
    """The example in the message about a missing `provider` fixture."""
    deadline_s: ClassVar[float] = 60.0
    """The timeout for each call, in seconds."""
    blocking_s: ClassVar[float] = 0.5
    """The maximum time in seconds for which an asynchronous call may block the event loop."""

    caller: Caller

    @pytest.fixture
    def provider(self) -> Any:
        """Return the backend under test. Each subclass overrides this fixture."""
        argument = ", tmp_path" if "tmp_path" in self.example else ""
        pytest.fail(
            f"{type(self).__name__} has no fixture for the {self.kind} under test. Add to the class:\n\n"
            f"    @pytest.fixture\n    def provider(self{argument}):\n        return {self.example}\n",
            pytrace=False,
        )

    @pytest.fixture(params=["sync", "async"])
    def variant(self, request: pytest.FixtureRequest) -> Variant:
        """Return "sync" or "async": the kind of methods that this test calls."""
        return request.param  # type: ignore[no-any-return]

    @pytest.fixture(autouse=True)
    def _make_caller(self, provider: Any, variant: Variant) -> Iterator[None]:
        runner = (
            asyncio.Runner()
        )  # no context manager: entering would create an event loop even for sync tests
        worker = Worker()
        watch = LoopWatch(worker.thread, self.blocking_s) if variant == "async" else None
        try:
            if inspect.isawaitable(provider):
                awaited = _await(provider)
                provider = worker.run(lambda: runner.run(awaited), self.deadline_s)
            self.caller = Caller(provider, variant, runner, worker, watch, deadline_s=self.deadline_s)
            try:
                self._check_variants(provider, variant)
                yield
            finally:
                self.caller.close()
        finally:
            if watch is not None:
                watch.close()
            if not worker.has_hung:
                worker.run(runner.close, self.deadline_s)
            worker.close()

    @pytest.fixture
    def no_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make this thread unable to start threads, as in a process at its thread limit."""
        plain, tester = threading.Thread.start, threading.current_thread()

        def start(thread: threading.Thread) -> None:
            current = threading.current_thread()
            if current is tester or isinstance(
                current, KitThread
            ):  # the threads of test servers may start threads
                raise RuntimeError("can't start new thread")
            plain(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    def works_or_refuses(self, name: str, /, *args: Any, **options: Any) -> bool:
        """Call the method. Return whether it succeeded; fail the test on an exception that is not from `llmcore.errors`."""
        __tracebackhide__ = True
        way = self.collect if "stream" in name and not name.startswith("save") else self.call
        try:
            way(name, *args, **options)
        except LLMCoreError as error:
            foreign = self.foreign(error)
            assert not foreign, f"{self.caller.get_name(name)} chains {foreign} to its error"
            return False
        except Exception as error:  # noqa: BLE001 - the test reports any other exception
            wrong = f"{type(error).__name__}: {error}"
        else:
            return True
        pytest.fail(
            f"{type(self.caller.provider).__name__}.{self.caller.get_name(name)} must work without starting a thread "
            f"or raise an error of llmcore.errors, raised {wrong}"
        )

    def call(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Call the sync or async method *name* and return the result: `self.call("save", key, data)`."""
        __tracebackhide__ = True
        return self.caller.call(name, *args, **options)

    def collect(self, name: str, /, *args: Any, limit: int | None = None, **options: Any) -> list[Any]:
        """Call a method that returns an iterator. Return at most *limit* items and close the iterator."""
        __tracebackhide__ = True
        return self.caller.collect(name, *args, limit=limit, **options)

    def together(self, calls: Sequence[Call], *, errors: bool = False) -> list[Any]:
        """Make all calls concurrently, in threads or tasks. Return the results in order.

        With *errors*, the result of a failed call is its exception. Without *errors*, the first exception is raised.
        """
        __tracebackhide__ = True
        return self.caller.together(calls, errors=errors)

    def race(self, scripts: Sequence[Script]) -> list[Any]:
        """Run scripts of calls concurrently, from threads or tasks; return their results in order, or raise the first error."""
        __tracebackhide__ = True
        results = self.caller.race([(self.caller, script) for script in scripts])
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    def another(self, provider: Any) -> Caller:
        """Return a caller for a second backend, with this test's variant and event loop."""
        return self.caller.another(provider)

    def fails(self, expected: type[E] | tuple[type[E], ...], name: str, /, *args: Any, **options: Any) -> E:
        """Call the method, check that it raises *expected*, and return the error."""
        __tracebackhide__ = True
        return self._expect(expected, self.call, name, args, options)  # type: ignore[no-any-return]

    def stream_fails(
        self, expected: type[E] | tuple[type[E], ...], name: str, /, *args: Any, **options: Any
    ) -> E:
        """Exhaust the iterator that the method returns, check that it raises *expected*, and return the error."""
        __tracebackhide__ = True
        return self._expect(expected, self.collect, name, args, options)  # type: ignore[no-any-return]

    def reports_sending(self, name: str, /, *args: Any) -> None:
        """Call the method. Fail the test if it calls `track_sending` but never `mark_sent`."""
        __tracebackhide__ = True
        sending, caller = Sending(), self.caller
        method = getattr(caller.provider, caller.get_name(name))
        if caller.variant == "sync":
            caller.run_bounded(lambda: sending.blocking(method, *args), caller.get_name(name))
        else:
            caller.run(sending.awaiting(method, *args))
        assert not sending.withdraw(), (
            "the method called track_sending but not mark_sent, so the ledger would record no cost"
        )

    def needs(self, *names: str, plain: bool = False) -> None:
        """Skip the test if the backend has none of the methods *names* of an ability. Fail the test if it has only some.

        *names* are sync names. With *plain*, the methods have no async variant: `needs("count_tokens", plain=True)`.
        """
        __tracebackhide__ = True
        provider = self.caller.provider
        spelt = names if plain else [self.caller.get_name(name) for name in names]
        lacking = [name for name in spelt if not callable(getattr(provider, name, None))]
        if not lacking:
            return
        who = type(provider).__name__
        if len(lacking) < len(names):
            pytest.fail(f"{who} defines only some methods of an ability; define also: {', '.join(lacking)}")
        pytest.skip(f"{who} does not define {', '.join(lacking)}")

    @staticmethod
    def foreign(error: BaseException) -> list[BaseException]:
        """Return the exceptions in the chain of *error* that are not llmcore's. Such an exception may contain an API key."""
        found: list[BaseException] = []
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error.__cause__, error.__context__]
        while waiting:
            link = waiting.pop()
            if link is None or id(link) in seen:
                continue
            seen.add(id(link))
            if not isinstance(link, LLMCoreError):
                found.append(link)
            waiting += [link.__cause__, link.__context__]
        return found

    def _expect(
        self, expected: Any, way: Any, name: str, args: Sequence[Any], options: dict[str, Any]
    ) -> Any:
        __tracebackhide__ = True
        wanted = expected if isinstance(expected, tuple) else (expected,)
        what = f"{type(self.caller.provider).__name__}.{self.caller.get_name(name)}({_format_arguments(args, options)})"
        names = " or ".join(kind.__name__ for kind in wanted)
        try:
            result = way(name, *args, **options)
        except wanted as error:
            if isinstance(error, LLMCoreError) and not error.message.strip():
                pytest.fail(f"{what} raised {type(error).__name__} without a message")
            return error
        except Exception as error:  # noqa: BLE001 - the test reports any other exception
            wrong = f"{type(error).__name__}: {error}"
        else:
            pytest.fail(f"{what} must raise {names}, returned {_shorten(result)}")
        pytest.fail(f"{what} must raise {names}, raised {wrong}")

    def _check_variants(self, provider: Any, variant: Variant) -> None:
        who = type(provider).__name__
        missing = {
            prefix: [
                f"{prefix}{name}"
                for name in self.must
                if not callable(getattr(provider, prefix + name, None))
            ]
            for prefix in ("", "a")
        }
        if all(len(names) == len(self.must) for names in missing.values()):
            pytest.fail(
                f"{who} is not a {self.kind}: define {', '.join(self.must)}, "
                f"or the asynchronous methods {', '.join('a' + name for name in self.must)}",
                pytrace=False,
            )
        lacking = missing["" if variant == "sync" else "a"]
        if len(lacking) == len(self.must):
            pytest.skip(f"{who} has no {variant} variant: it does not define {', '.join(lacking)}")
        if lacking:
            pytest.fail(
                f"{who} defines only some methods of its {variant} variant; define also: {', '.join(lacking)}",
                pytrace=False,
            )


def _format_arguments(args: Sequence[Any], options: dict[str, Any]) -> str:
    return ", ".join(
        [*map(_shorten, args), *(f"{name}={_shorten(value)}" for name, value in options.items())]
    )


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


async def _await(provider: Any) -> Any:
    return await provider
