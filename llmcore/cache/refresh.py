"""Early refresh: what is due is made anew in the background, by one caller, while all are served the old one."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from llmcore.builtin import forks
from llmcore.cache.lease import Leases
from llmcore.cache.store import CacheStore
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act, Step
from llmcore.log import logger

if TYPE_CHECKING:
    import asyncio

__all__ = ["Refresher", "Renewal"]

PAUSE_S: Final = 1.0
"""Between a refresh that failed and the next try; doubled with every further one."""
LONGEST_PAUSE_S: Final = 60.0
QUIET_S: Final = 60.0
"""Between two lines in the log, however many results cannot be refreshed."""
MOST: Final = 32
"""Refreshes under way in one process; what is due beyond them waits for its next caller."""


class Renewal(NamedTuple):
    """How one kept result is made anew."""

    key: str
    """In the backend."""
    name: str
    """What it is the result of, as the log may tell it."""
    due: Callable[[bytes], Act[bool]]
    """Tells whether what is kept is usable and still due."""
    make: Callable[[], Act[None]]
    """Makes the result and keeps it, or raises why not."""


_RUNNING: Final = float("inf")


class _Turn(NamedTuple):
    until: float
    """Until when nobody else begins; `_RUNNING` while somebody is at it."""
    failures: int


class Refresher:
    """The refreshes on one cache that are under way in this process."""

    def __init__(self, store: CacheStore, leases: Leases) -> None:
        self._store = store
        self._leases = leases
        self._closed = False
        self.renewed()
        forks.renew(self)

    def renewed(self) -> None:
        """See `forks.Renewable`: the refreshes under way are the parent's."""
        self._lock = threading.Lock()
        self._turns: dict[str, _Turn] = {}
        self._quiet_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def step(self, renewal: Renewal) -> Step:
        """Return the step that begins *renewal*, in a thread or a task, unless that is being done or has just failed."""
        return Step(self._begin, self._abegin, renewal)

    def close(self) -> None:
        """Begin no more; what is under way ends by itself, in silence."""
        self._closed = True

    def _begin(self, renewal: Renewal) -> None:
        turn = self._take(renewal.key)
        if turn is None:
            return
        context, work = contextvars.copy_context(), self._refreshed(renewal, turn)
        try:
            threading.Thread(
                target=context.run, args=(run, work), name="llmcore-refresh", daemon=True
            ).start()
        except RuntimeError:  # no more threads, or Python ends: the caller has its answer anyway
            self._give_back(renewal.key, turn, done=None)

    async def _abegin(self, renewal: Renewal) -> None:
        import asyncio

        turn = self._take(renewal.key)
        if turn is None:
            return

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._give_back(renewal.key, turn, done=None)  # where it was cancelled before it began

        task = asyncio.get_running_loop().create_task(arun(self._refreshed(renewal, turn)))
        self._tasks.add(task)
        task.add_done_callback(ended)

    def _take(self, key: str) -> _Turn | None:
        """Return a turn, which `_give_back` ends; None where this is not the time."""
        now = time.monotonic()
        with self._lock:
            before = self._turns.get(key)
            running = sum(turn.until == _RUNNING for turn in self._turns.values())
            if self._closed or running >= MOST or (before is not None and before.until > now):
                return None
            # What failed is remembered for as long again, so that the pauses grow.
            self._turns = {
                each: turn for each, turn in self._turns.items() if turn.until > now - LONGEST_PAUSE_S
            }
            turn = self._turns[key] = _Turn(_RUNNING, 0 if before is None else before.failures)
            return turn

    def _give_back(self, key: str, turn: _Turn, *, done: bool | None) -> bool:
        """End the turn, if that was not done; return whether to tell of a failure.

        *done* is None where it came to nothing, and nothing is wrong.
        """
        now = time.monotonic()
        with self._lock:
            if self._turns.get(key) is not turn:
                return False
            if done:
                del self._turns[key]
                return False
            failures = turn.failures + (done is False)
            pause = min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** max(0, failures - 1))
            self._turns[key] = _Turn(now + pause, failures)
            if done is None or failures > 1 or now < self._quiet_until or self._closed:
                return False
            self._quiet_until = now + QUIET_S
            return True

    def _refreshed(self, renewal: Renewal, turn: _Turn) -> Act[None]:
        done: bool | None = None
        why = "what came back cannot be kept"
        try:
            done = yield from self._leading(renewal)
        except Exception as error:  # noqa: BLE001 - of whoever made it; nobody waits here to be told
            done, why = False, type(error).__name__
        finally:
            if self._give_back(renewal.key, turn, done=done):
                logger(__name__).warning(
                    "refreshing %s failed, the old one is served on: %s", renewal.name, why
                )

    def _leading(self, renewal: Renewal) -> Act[bool | None]:
        """Refresh, unless another process does, or did; return whether that was done."""
        lease = renewal.key + " refresh"
        if (yield from self._leases.take(lease)) is False:
            return None
        try:
            done = yield from self._made(renewal)
        except GeneratorExit:  # which allows no further step
            self._leases.forgo(lease)
            raise
        except BaseException:
            yield from self._leases.give_back(lease)
            raise
        yield from self._leases.give_back(lease)
        return done

    def _made(self, renewal: Renewal) -> Act[bool]:
        if not (yield from self._is_due(renewal)):
            return True
        yield from renewal.make()
        return not (yield from self._is_due(renewal))

    def _is_due(self, renewal: Renewal) -> Act[bool]:
        kept = yield from self._store.look(renewal.key)
        return kept is not None and (yield from renewal.due(kept))
