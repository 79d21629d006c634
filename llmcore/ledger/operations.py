"""Call the operations of a ledger as steps, even if the ledger has only their sync or only their async variants."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from llmcore import forks
from llmcore.calls.steps import Step
from llmcore.errors import LedgerUnavailable

__all__ = ["Operations", "make_unavailable"]


class _Method(NamedTuple):
    blocking: Callable[..., Any]
    awaiting: Callable[..., Awaitable[Any]]


class Operations:
    """The methods of one ledger. The first use creates the ledger.

    An operation completes even if its task is cancelled. Otherwise the ledger could keep an open row that no call settles.
    """

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = create
        self._provider: Any = None
        self._lock = forks.lock()
        self._methods: dict[str, _Method] = {}

    @property
    def provider(self) -> Any:
        """The ledger. It stays usable after `Core.close`, to settle open rows."""
        if self._provider is None:
            with self._lock:
                if self._provider is None:
                    self._provider = self._create()
        return self._provider

    @property
    def is_created(self) -> bool:
        """True after the first use of the ledger."""
        return self._provider is not None

    def make_step(self, name: str, *args: Any) -> Step:
        """Return the step that calls the method *name*."""
        method = self._methods.get(name) or self._find(name)
        return Step(method.blocking, method.awaiting, *args)

    def run(self, name: str, *args: Any) -> Any:
        """Call the method *name*, blocking."""
        return (self._methods.get(name) or self._find(name)).blocking(*args)

    def flush(self, timeout_s: float) -> None:
        """Write the rows that a `LedgerBuffer` holds. Does not raise, because the next process settles rows that stay open."""
        if self.is_created and callable(getattr(self._provider, "flush", None)):
            with contextlib.suppress(Exception):
                self.run("flush", timeout_s)

    def _find(self, name: str) -> _Method:
        blocking: Any = getattr(self.provider, name, None)
        awaiting: Any = getattr(self.provider, f"a{name}", None)
        if blocking is None and awaiting is not None:
            blocking = _make_blocking(awaiting)
        if awaiting is None and blocking is not None:
            awaiting = _make_awaiting(blocking)
        if blocking is None:
            kind = type(self.provider).__qualname__
            raise LedgerUnavailable(f"{kind} has no method `{name}`", expected="a ledger with this ability")
        method = self._methods[name] = _Method(blocking, awaiting)
        return method


def make_unavailable(error: Exception) -> LedgerUnavailable:
    """Return *error* as a `LedgerUnavailable`, because a ledger plugin may raise any exception."""
    if isinstance(error, LedgerUnavailable):
        return error
    return LedgerUnavailable(f"{type(error).__name__}: {error}")


def _make_blocking(awaiting: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        from llmcore.calls.loop import run_in_loop

        return run_in_loop(awaiting(*args))

    return call


def _make_awaiting(blocking: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    def call(*args: Any) -> Awaitable[Any]:
        from llmcore.calls.worker_threads import run_in_worker
        from llmcore.support.completion import complete

        return complete(run_in_worker(blocking, *args))

    return call
