"""The lane `now`: sends each different request once, through the pipeline, and reads only a bounded number of items ahead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetError,
    ConfigError,
    EngineError,
    LedgerError,
    LLMCoreError,
    PluginError,
    ProviderError,
    QuotaExhausted,
    RateLimited,
)
from llmcore.llm.batch.adaptive_concurrency import ConcurrencyController
from llmcore.llm.batch.items import BatchItem, Prepared, make_key
from llmcore.llm.batch.source import WAITING, ItemSource
from llmcore.llm.batch.store import Answer, RunStore, share
from llmcore.llm.batch.stored_items import StoredItems
from llmcore.llm.batch.typed_answers import check_answer
from llmcore.support.money import to_nano
from llmcore.types import Reply

if TYPE_CHECKING:
    import asyncio

    from llmcore.llm.batch.engine import Engine

__all__ = ["STOPPING", "LiveLane", "Send"]

STOPPING: Final = (
    AuthenticationFailed, BudgetError, ConfigError, EngineError, LedgerError, PluginError, QuotaExhausted,
)  # fmt: skip
"""Errors that every further request would raise as well.

Such an error stops the run, and the remaining items stay pending.
"""
_AHEAD: Final = 4
"""For each request that may be in flight, this many finished items may wait for the reader.

While that many items wait, no new request is sent.
"""

_WINDOW: Final = 1000
"""The maximum number of items that the lane reads ahead of the reader, in addition to the items in flight."""

Send = Callable[[dict[str, Any], Callable[[ProviderError], None]], Awaitable[Reply[Any]]]
"""A function that sends a body, and calls the given function with each failure that is retried."""


class _Read:
    """The items that one call of `LiveLane._fill` has read, grouped by what happens to them next."""

    def __init__(self) -> None:
        self.fresh: list[tuple[int, str | None, bytes | None, dict[str, Any] | None]] = []
        self.starting: list[tuple[bytes, dict[str, Any]]] = []
        self.failed: list[tuple[int, LLMCoreError]] = []
        self.done: list[int] = []


class LiveLane:
    """Sends the items of one run. The object belongs to one event loop.

    Args:
        items: The unanswered items in input order.
        store: Stores the answers.
        send: Sends one request body.
        controller: Controls the number of requests in flight.
        engine: Sends chunks of requests in other processes, in place of *send* and *controller*.
        in_order: True returns the items in their order, from position *first*. About `_WINDOW` later items can wait
            for a slow item; then reading pauses.
        max_failures: Takes the number of finished items, and returns how many of them may have failed. The run stops
            when more items have failed.
        answer_type: An item fails if its answer does not fit this type. If None, every answer fits.
    """

    def __init__(
        self,
        items: Iterator[Prepared] | AsyncIterator[Prepared],
        store: RunStore,
        send: Send,
        controller: ConcurrencyController,
        *,
        engine: Engine | None = None,
        in_order: bool = False,
        first: int = 0,
        max_failures: Callable[[int], float] | None = None,
        answer_type: Any = None,
    ) -> None:
        import asyncio

        self._source = ItemSource(items, self._wake)
        self._store = store
        self._stored_items = StoredItems(store)
        self._send = send
        self._controller = controller
        self._in_order = in_order
        self._max_failures = max_failures
        self._answer_type = answer_type
        self._engine = engine
        self._tasks: dict[asyncio.Future[Any], list[bytes]] = {}
        """The keys of the requests that each task sends."""
        self._completed: set[asyncio.Future[Any]] = set()
        """The ended tasks that `_settle` has not processed yet."""
        self._waiter: asyncio.Future[None] | None = None
        self._waiting: dict[bytes, list[Prepared]] = {}
        """The items of each request in flight or in the queue of an engine."""
        self._finished: list[BatchItem] = []
        self._early: dict[int, BatchItem] = {}
        """Finished items that wait for an earlier item."""
        self._due = first
        """The position of the next item to return, if items are in order."""
        self._exhausted = False
        self._is_complete = False
        """True if the run's file is marked as complete."""
        self._failed = 0
        self._ended = 0
        self._ahead = 0
        """The number of items that were read and not yet given to the reader."""
        self._unsaved: list[tuple[list[Answer], list[int], list[tuple[int, LLMCoreError]]]] = []
        self._stop: BaseException | None = None
        self._closing: asyncio.Future[None] | None = None
        self._wait = asyncio.wait

    async def take(self) -> list[BatchItem]:
        """Return the items that have finished since the last call.

        The list is empty only at the end of the run.

        Raises:
            Exception: The run stopped, or its source of items raised the exception; everything that was in flight
                has ended and is stored.
        """
        try:
            await self._work()
        except BaseException:
            await self.close()
            raise
        if not self._finished and self._stop is not None:
            raise self._stop
        found, self._finished = self._finished, []
        self._ahead -= len(found)
        return found

    async def _work(self) -> None:
        """Send and wait until an item has finished or nothing is in flight."""
        self._fill()
        while not self._finished and (self._tasks or (self._source.pending and self._stop is None)):
            await self._wait_for_news()
            completed, self._completed = self._completed, set()
            if completed:
                self._settle(completed)
            # send more before returning, so that requests are in flight while the reader works on the finished items
            self._fill()

    async def _wait_for_news(self) -> None:
        """Wait until a task has ended or the next item has come.

        This method does not use `asyncio.wait`, which would add a callback to all tasks in flight each time a task
        ends.
        """
        import asyncio

        if not self._completed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self, _: object) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _start(self, task: asyncio.Future[Any], keys: list[bytes]) -> None:
        self._tasks[task] = keys
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Future[Any]) -> None:
        if task in self._tasks:  # not yet settled by `close`
            self._completed.add(task)
            self._wake(task)

    async def close(self) -> None:
        """Cancel the requests in flight and wait until they have ended.

        This method may be called twice: by an interrupted `take`, and then by the reader.
        """
        import asyncio

        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await self._wait(tasks)
            self._settle(tasks)
        elif self._unsaved:
            self._save([], [], [])
        await self._source.close()
        if self._engine is not None:
            is_complete = self._is_complete and not self._store.count().pending
            await self._engine.close(is_complete=is_complete)
            if is_complete:
                self._store.set(engine="")

    def _fill(self) -> None:
        """Send new requests until as many are in flight as the controller allows."""
        import asyncio

        batch = _Read()
        limit = self._get_limit()
        in_flight = len(self._waiting)
        while (
            self._stop is None
            and in_flight + len(batch.starting) < limit
            and len(self._finished) < limit * _AHEAD
            and self._ahead < limit + _WINDOW
            and (item := self._read()) is not None
        ):
            self._ahead += 1
            self._sort(item, batch)
        if batch.fresh and not self._add(batch):
            return
        if self._exhausted and self._stop is None and not self._is_complete:
            # Mark the run as complete only after the last items are stored. Otherwise a crash in between would lose
            # them.
            self._is_complete = self._try(lambda: self._store.set(complete="1"))
        if batch.failed or batch.done:
            self._save([], batch.done, batch.failed)
            self._count_failures(len(batch.failed))
        if self._engine is None:
            for key, body in batch.starting:
                self._start(asyncio.ensure_future(self._send(body, self._on_failure)), [key])
            return
        for part in self._engine.divide(batch.starting, is_last=self._exhausted):
            self._start(asyncio.ensure_future(self._engine.send(part)), [key for key, _ in part])

    def _get_limit(self) -> int:
        """Return the maximum number of requests in flight, or in the queue of an engine."""
        return int(self._controller.limit) if self._engine is None else self._engine.count_requests()

    def _read(self) -> Prepared | None:
        """Return the next item; None if the source has no item yet, or has ended."""
        if self._exhausted:
            return None
        try:
            item = self._source.read()
        except Exception as error:  # noqa: BLE001 - the application's iterator may raise any exception, which is raised again when all requests have ended
            self._exhausted, self._stop = True, error
            return None
        if item is WAITING:
            return None
        if item is None:
            self._exhausted = True
        return item

    def _add(self, batch: _Read) -> bool:
        """Store the new items of *batch*. If this fails, drop their requests and return False."""
        if self._try(lambda: self._store.add(batch.fresh)):
            return True
        for key, _ in batch.starting:
            del self._waiting[key]
        return False

    def _try(self, write: Callable[[], None]) -> bool:
        """Call *write* and return whether it succeeded. A failure stops the run."""
        try:
            write()
        except LLMCoreError as error:
            self._stop = self._stop or error
            return False
        return True

    def _save(self, answers: list[Answer], done: list[int], failed: list[tuple[int, LLMCoreError]]) -> None:
        """Store the outcomes of items. If this fails, the next call tries again, because the answers are paid for."""
        self._unsaved.append((answers, done, failed))
        while self._unsaved and self._try(lambda: self._store.finish(*self._unsaved[0])):
            del self._unsaved[0]

    def _finish(self, item: BatchItem) -> None:
        """Give *item* to the reader. If items are returned in order, it waits until all earlier items have finished."""
        self._ended += 1
        if not self._in_order:
            self._finished.append(item)
            return
        self._early[item.index] = item
        while (found := self._early.pop(self._due, None)) is not None:
            self._finished.append(found)
            self._due += 1

    def _sort(self, item: Prepared, batch: _Read) -> None:
        """Determine the state of *item*: malformed, answered, in flight, or to be sent now."""
        error, key = item.error, b""
        if item.body is not None:
            try:
                key = make_key(item.body)
            except BadRequest as fault:
                error = fault
        earlier = None if error else self._stored_items.find(item, key)
        if earlier is not None and (reply := earlier.reply) is not None:
            self._finish(BatchItem(index=item.position, id=item.id, reply=reply))
            return
        if earlier is None:
            batch.fresh.append((item.position, item.id, key or None, None if error else item.body))
        if error is not None:
            batch.failed.append((item.position, error))
            self._finish(BatchItem(index=item.position, id=item.id, error=error))
        elif key in self._waiting:
            self._waiting[key].append(item)
        elif (reply := self._store.find_answer(key, item.position)) is not None:
            batch.done.append(item.position)
            self._finish(BatchItem(index=item.position, id=item.id, reply=reply))
        else:
            self._waiting[key] = [item]
            batch.starting.append((key, item.body or {}))

    def _settle(self, tasks: set[asyncio.Future[Reply[Any]]]) -> None:
        """Store the outcomes of *tasks*."""
        answers: list[Answer] = []
        done: list[int] = []
        failed: list[tuple[int, LLMCoreError]] = []
        for key, reply, error in self._list_ended(tasks):
            items = self._waiting.pop(key)
            if reply is not None:
                cost = None if reply.cost is None else to_nano(reply.cost)
                answers.append((key, reply, cost, items[0].position))
                done.extend(item.position for item in items)
                if not reply.cached:
                    self._controller.grow()
                for number, item in enumerate(items):
                    own = share(reply) if number else reply  # only the first of equal items was sent
                    self._finish(BatchItem(index=item.position, id=item.id, reply=own))
            elif error is None:
                continue  # the request was not sent
            elif isinstance(error, STOPPING):
                self._stop = self._stop or error
            elif isinstance(error, LLMCoreError):
                if isinstance(error, RateLimited):
                    self._controller.cut()
                failed.extend((item.position, error) for item in items)
                for item in items:
                    self._finish(BatchItem(index=item.position, id=item.id, error=error))
            else:
                self._stop = self._stop or error
        self._save(answers, done, failed)
        self._count_failures(len(failed))

    def _list_ended(
        self, tasks: set[asyncio.Future[Any]]
    ) -> Iterator[tuple[bytes, Reply[Any] | None, BaseException | None]]:
        """Yield each request that *tasks* have sent, with its reply or its error."""
        for task in tasks:
            keys = self._tasks.pop(task)
            error = None if task.cancelled() else task.exception()
            if task.cancelled() or error is not None:
                yield from ((key, None, error) for key in keys)
            elif self._engine is None:
                yield self._check(keys[0], task.result())
            else:
                outcomes, stop = task.result()
                self._stop = self._stop or stop
                for key, outcome in zip(keys, outcomes, strict=True):
                    is_error = isinstance(outcome, BaseException)
                    yield (key, None, outcome) if is_error else self._check(key, outcome)

    def _check(self, key: bytes, reply: Reply[Any]) -> tuple[bytes, Reply[Any] | None, BaseException | None]:
        """Return a request with its reply, or with the error of an answer that does not fit the type."""
        error = check_answer(reply, self._answer_type)
        return key, reply if error is None else None, error

    def _on_failure(self, error: ProviderError) -> None:
        if isinstance(error, RateLimited):
            self._controller.cut()

    def _count_failures(self, number: int) -> None:
        self._failed += number
        if number and self._max_failures is not None and self._stop is None:
            seen = self._ended
            if self._failed > self._max_failures(seen):
                self._stop = LLMCoreError(
                    f"{self._failed} of {seen} items failed, more than max_failures allows",
                    code="LC322",
                    expected="fewer failures; the file of the run contains the error of each item",
                )
