"""Early refresh: a result that is due is made anew in the background, by one caller, while all are served the old one."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from llmcore.cache.function import CachedFunction, Call, Outcome
from llmcore.cache.keys import backend_key
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.log import logger

if TYPE_CHECKING:
    import asyncio

__all__ = ["Refresher"]


PAUSE_S: Final = 1.0
"""Between a refresh that failed and the next try."""


class Refresher:
    """The refreshes of one cached function that are under way in this process."""

    def __init__(self, cached: CachedFunction, run_once: Callable[[Call], Act[Outcome]]) -> None:
        self._cached = cached
        self._run_once = run_once
        self._lock = threading.Lock()
        self._busy: dict[str, float] = {}
        """Until when nobody else begins, by key."""
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: Call) -> None:
        """Have the result made anew by a thread, unless that is being done."""
        if self._take(call.key):
            context = contextvars.copy_context()
            threading.Thread(
                target=context.run,
                args=(run, self._refreshed(call)),
                name="llmcore-refresh",
                daemon=True,
            ).start()

    def abegin(self, call: Call) -> None:
        """Have the result made anew by a task, unless that is being done."""
        import asyncio

        if self._take(call.key):
            task = asyncio.get_running_loop().create_task(arun(self._refreshed(call)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self, key: str) -> bool:
        now = time.monotonic()
        with self._lock:
            if self._busy.get(key, 0.0) > now:
                return False
            for passed in [each for each, until in self._busy.items() if until <= now]:
                del self._busy[passed]
            self._busy[key] = float("inf")
            return True

    def _refreshed(self, call: Call) -> Act[None]:
        done = False
        try:
            done = yield from self._leading(call)
        finally:
            with self._lock:
                if done:
                    self._busy.pop(call.key, None)
                else:
                    self._busy[call.key] = time.monotonic() + PAUSE_S

    def _leading(self, call: Call) -> Act[bool]:
        """Refresh, unless another process does; return whether there is nothing to wait for before the next time."""
        leases = self._cached.values.leases
        key = backend_key(call.key) + " refresh"
        if (yield from leases.take(key)) is False:
            return False
        outcome: Outcome | None = None
        try:
            outcome = yield from self._made(call)
        except GeneratorExit:  # which allows no further step: the lease runs out by itself
            raise
        except BaseException:
            yield from leases.give_back(key)
            raise
        yield from leases.give_back(key)
        if outcome is not None and outcome.error is not None:
            logger(__name__).warning(
                "refreshing a result of %s failed, the old one is served on: %s",
                self._cached.function.__qualname__,
                type(outcome.error).__name__,
            )
        return outcome is None or outcome.error is None

    def _made(self, call: Call) -> Act[Outcome | None]:
        """Make the result anew; return None where another process has done so meanwhile."""
        cached = self._cached
        kept = yield from cached.values.store.look(backend_key(call.key))
        if kept is not None:
            found = yield from cached.values.opened(kept, cached.codec)
            if found.hit and found.due > time.time():
                return None
        return (yield from cached.made(call, lambda: self._run_once(call), reads=False))
