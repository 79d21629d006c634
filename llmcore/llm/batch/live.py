"""The lane `now`: requests through the pipeline, with a bounded look-ahead, and each different request once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetError,
    ConfigError,
    LLMCoreError,
    PluginError,
    ProviderError,
    QuotaExhausted,
    RateLimited,
)
from llmcore.ledger.money import to_nano
from llmcore.llm.batch.items import BatchItem, Prepared, make_key
from llmcore.llm.batch.pace import Pace
from llmcore.llm.batch.store import RunStore
from llmcore.types import Reply

if TYPE_CHECKING:
    import asyncio

__all__ = ["STOPPING", "LiveLane"]

STOPPING: Final = (AuthenticationFailed, BudgetError, ConfigError, PluginError, QuotaExhausted)
"""Errors that every further request would meet, so they stop the run. Its items stay pending."""
_AHEAD: Final = 4
"""Finished items that wait for the reader, for each request in flight: then no new request is sent."""

Send = Callable[[dict[str, Any], Callable[[ProviderError], None]], Awaitable[Reply[Any]]]
"""Sends a body, and calls the function with each failure that it retries."""


class _Read:
    """What became of the items that were read in one go."""

    def __init__(self) -> None:
        self.fresh: list[tuple[int, str | None, bytes | None, dict[str, Any] | None]] = []
        self.starting: list[tuple[bytes, dict[str, Any]]] = []
        self.failed: list[tuple[int, LLMCoreError]] = []
        self.done: list[int] = []


class LiveLane:
    """Sends the items of one run. It belongs to one event loop.

    Args:
        source: The items that are left, in their order.
        store: Where they are kept.
        send: Sends one request body.
        pace: How many are in flight.
        max_failures: The run stops when more items than this have failed.
    """

    def __init__(
        self,
        source: Iterator[Prepared],
        store: RunStore,
        send: Send,
        pace: Pace,
        *,
        max_failures: Callable[[int], float] | None = None,
    ) -> None:
        import asyncio

        self._source = source
        self._store = store
        self._send = send
        self._pace = pace
        self._max_failures = max_failures
        self._tasks: dict[asyncio.Future[Reply[Any]], bytes] = {}
        self._waiting: dict[bytes, list[Prepared]] = {}
        """The items of each request in flight."""
        self._finished: list[BatchItem] = []
        self._exhausted = False
        self._failed = 0
        self._taken = 0
        self._stop: LLMCoreError | None = None
        self._wait = asyncio.wait
        self._first = asyncio.FIRST_COMPLETED

    async def take(self) -> list[BatchItem]:
        """Return the items that have finished since the last call, at least one; none at the end of the run.

        Raises:
            LLMCoreError: The run stopped; everything that was in flight has ended and is stored.
        """
        try:
            await self._work()
        except BaseException:
            await self.close()
            raise
        if not self._finished and self._stop is not None:
            raise self._stop
        found, self._finished = self._finished, []
        self._taken += len(found)
        return found

    async def _work(self) -> None:
        """Send and wait until an item has finished or nothing is in flight."""
        self._fill()
        while not self._finished and self._tasks:
            done, _ = await self._wait(self._tasks, return_when=self._first)
            self._settle(done)
            self._fill()  # so that the requests go on while the reader works on these

    async def close(self) -> None:
        """Cancel what is in flight, and wait for its end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await self._wait(self._tasks)
            self._settle(set(self._tasks))

    def _fill(self) -> None:
        """Send new requests, up to the pace."""
        import asyncio

        batch = _Read()
        limit = int(self._pace.limit)
        while (
            self._stop is None
            and len(self._tasks) + len(batch.starting) < limit
            and len(self._finished) < limit * _AHEAD
            and (item := self._read()) is not None
        ):
            self._sort(item, batch)
        if batch.fresh:
            self._store.add(batch.fresh)
        if batch.failed or batch.done:
            self._store.finish((), batch.done, batch.failed)
            self._count_failures(len(batch.failed))
        for key, body in batch.starting:
            self._tasks[asyncio.ensure_future(self._send(body, self._on_failure))] = key

    def _read(self) -> Prepared | None:
        item = None if self._exhausted else next(self._source, None)
        if item is None and not self._exhausted:
            self._exhausted = True
            self._store.set(complete="1")
        return item

    def _sort(self, item: Prepared, batch: _Read) -> None:
        """Decide what happens to *item*: it is malformed, answered, in flight, or sent now."""
        error, key = item.error, b""
        if item.body is not None:
            try:
                key = make_key(item.body)
            except BadRequest as fault:
                error = fault
        batch.fresh.append((item.position, item.id, key or None, None if error else item.body))
        if error is not None:
            batch.failed.append((item.position, error))
            self._finished.append(BatchItem(index=item.position, id=item.id, error=error))
        elif key in self._waiting:
            self._waiting[key].append(item)
        elif (reply := self._store.find_answer(key)) is not None:
            batch.done.append(item.position)
            self._finished.append(BatchItem(index=item.position, id=item.id, reply=reply))
        else:
            self._waiting[key] = [item]
            batch.starting.append((key, item.body or {}))

    def _settle(self, tasks: set[asyncio.Future[Reply[Any]]]) -> None:
        """Store how *tasks* ended."""
        answers: list[tuple[bytes, Reply[Any], int | None]] = []
        done: list[int] = []
        failed: list[tuple[int, LLMCoreError]] = []
        for task in tasks:
            key = self._tasks.pop(task)
            items = self._waiting.pop(key)
            if task.cancelled():
                continue
            error = task.exception()
            if error is None:
                reply = task.result()
                answers.append((key, reply, None if reply.cost is None else to_nano(reply.cost)))
                done.extend(item.position for item in items)
                self._finished.extend(
                    BatchItem(index=item.position, id=item.id, reply=reply) for item in items
                )
                if not reply.cached:
                    self._pace.grow()
            elif isinstance(error, STOPPING):
                self._stop = self._stop or error
            elif isinstance(error, LLMCoreError):
                if isinstance(error, RateLimited):
                    self._pace.cut()
                failed.extend((item.position, error) for item in items)
                self._finished.extend(
                    BatchItem(index=item.position, id=item.id, error=error) for item in items
                )
            else:
                raise error
        self._store.finish(answers, done, failed)
        self._count_failures(len(failed))

    def _on_failure(self, error: ProviderError) -> None:
        if isinstance(error, RateLimited):
            self._pace.cut()

    def _count_failures(self, number: int) -> None:
        self._failed += number
        if number and self._max_failures is not None and self._stop is None:
            seen = self._taken + len(self._finished)
            if self._failed > self._max_failures(seen):
                self._stop = LLMCoreError(
                    f"{self._failed} of {seen} items failed, more than max_failures allows",
                    code="LC322",
                    expected="fewer failures; the error of each item is stored with it",
                )
