"""The lane `queue`. The vendor answers batches of requests later, at half price."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from llmcore.calls.drivers import arun
from llmcore.errors import BadRequest, BudgetError, LLMCoreError
from llmcore.llm.batch.items import BatchItem, Prepared, make_key
from llmcore.llm.batch.live_lane import STOPPING
from llmcore.llm.batch.queue_booking import Booking
from llmcore.llm.batch.queue_chunks import Chunks
from llmcore.llm.batch.queue_settlement import ChunkWork
from llmcore.llm.batch.queue_store import QueueStore
from llmcore.llm.batch.source import WAITING, ItemSource
from llmcore.llm.batch.store import Answer, RunStore, share
from llmcore.llm.batch.stored_items import StoredItems
from llmcore.llm.batch.typed_answers import check_answer
from llmcore.llm.batch.vendor import has_queue
from llmcore.support.money import to_nano

if TYPE_CHECKING:
    from llmcore.llm.batch.queue_plan import ChunkPlan
    from llmcore.llm.call import ChatCall
    from llmcore.pipeline import Services
    from llmcore.types import Reply

__all__ = ["QueueLane"]

Fresh: TypeAlias = tuple[int, str | None, bytes | None, dict[str, Any] | None]

_PAGE: Final = 500
"""The number of items to read, and of results to store, in one step."""
_STEP: Final = 100
_PAUSE_S: Final = 0.2
_MOST_PAUSE_S: Final = 60.0
_GROWTH: Final = 1.5
"""While no batch changes, the pause between two status requests grows by this factor."""


class QueueLane:
    """Sends the items of one run through a vendor's queue. The object belongs to one event loop.

    The file of the run contains the whole state. Closing the lane leaves the batches at the vendor, and the next
    process that resumes the run finds them.

    Args:
        items: The unfinished items in input order.
        store: Stores the items and answers.
        plan: Returns the calls for a body, one for each model to try. The queue uses the first.
        services: The services of the calls.
        in_order: True returns the items in input order, from position 0.
        max_failures: Takes the number of finished items, and returns how many of them may have failed. The run stops
            when more items have failed.
        moves_tail: True if requests that the vendor has not executed in time are left to the lane `now`.
        drains: True cancels the existing batches and creates no new ones.
        report: Called with a sentence for each batch that is created or ends.
        answer_type: An item fails if its answer does not fit this type. If None, every answer fits.
    """

    def __init__(
        self,
        items: Iterator[Prepared] | AsyncIterator[Prepared],
        store: RunStore,
        plan: Callable[[Mapping[str, Any]], list[ChatCall]],
        services: Services,
        *,
        in_order: bool = False,
        max_failures: Callable[[int], float] | None = None,
        moves_tail: bool = False,
        drains: bool = False,
        report: Callable[[str], None] | None = None,
        answer_type: Any = None,
    ) -> None:
        self._source = ItemSource(items)
        self._store = store
        self._stored_items = StoredItems(store)
        self._queue = QueueStore(store)
        self._plan = plan
        self._services = services
        self._in_order = in_order
        self._moves_tail = moves_tail
        self._max_failures = max_failures
        self._answer_type = answer_type
        self._booking = Booking(services, self._queue.token, f"batch:{store.path.stem}")
        self._chunks = Chunks(
            self._queue,
            self._booking,
            ChunkWork(self.find_call, self._answer, self._fail, self._return_to_pool, self._save),
            run_id=store.path.stem,
            moves_tail=moves_tail,
            drains=drains,
            report=report,
        )
        self._finished: list[BatchItem] = []
        self._errors: dict[int, LLMCoreError] = {}
        self._answers: list[Answer] = []
        self._done: list[int] = []
        self._settled: dict[str, bytes] = {}
        """The name of each request whose answer is not stored yet -> the key of the request."""
        self._buffered: set[bytes] = set()
        """The keys of requests that have finished but whose items are not stored yet."""
        self.due = 0
        """The position of the next item to return, if items are in order."""
        self._exhausted = self._has_begun = False
        self._failed = self._ended = 0
        self._cursor = -1
        """The search for items to send begins after this position."""
        self._stop: BaseException | None = None
        self._pause_s = _PAUSE_S

    async def take(self) -> list[BatchItem]:
        """Return the items that have finished since the last call; an empty list at the end of the run.

        Raises:
            Exception: The run stopped, or its source of items raised the exception. The batches stay at the vendor.
        """
        if not self._has_begun:
            await self._chunks.begin()
            self._has_begun = True
        has_more = True
        while has_more and not self._finished and self._stop is None:
            has_more = await self._work()
            self._collect()
        if not self._finished and self._stop is not None:
            await self.close()
            raise self._stop
        found, self._finished = self._finished, []
        return found

    async def close(self) -> None:
        """Store settled requests. Release reservations for batches that were not created."""
        self._save()
        await self._chunks.release_unused()
        await self._source.close()

    def find_call(self, key: bytes) -> ChatCall | None:
        """Return the call of the request *key*; None if the file does not contain the request."""
        body = self._queue.get_body(key)
        return None if body is None else self._plan(msgspec.json.decode(body))[0]

    # -- parts

    async def _work(self) -> bool:
        """Do the next piece of work. Return False if nothing is left to do."""
        if not self._exhausted:
            await self._read()
            return True
        try:
            if self._chunks.can_submit and await self._fill():
                return True
            if await self._chunks.advance():
                self._pause_s = _PAUSE_S
                return True
        except LLMCoreError as error:  # every further batch would fail too
            self._stop = error
            return True
        if not self._chunks.has_open and not self._chunks.is_waiting:
            return False
        await self._wait()
        return True

    async def _wait(self) -> None:
        import asyncio

        pause = min(self._pause_s, self._chunks.get_longest_pause())
        self._pause_s = min(self._pause_s * _GROWTH, _MOST_PAUSE_S)
        await asyncio.sleep(pause)

    async def _read(self) -> None:
        """Store the next items of the source as pending."""
        import asyncio

        fresh, failed, count = self._read_page()
        self._store.add(fresh)
        if failed:
            self._store.finish([], [], [(item.position, error) for item, error in failed])
            for item, error in failed:
                self._finish(item.position, item.id, None, error)
            self._count_failures(len(failed))
        if self._exhausted and self._stop is None:
            self._store.set(complete="1")
        elif not count and self._source.pending:
            await asyncio.wait(self._source.pending)

    def _read_page(self) -> tuple[list[Fresh], list[tuple[Prepared, LLMCoreError]], int]:
        """Read the next items of the source.

        Return three values: the items to store, as rows of the file; the malformed items; and the number of items
        that were read.
        """
        fresh: list[Fresh] = []
        failed: list[tuple[Prepared, LLMCoreError]] = []
        count = 0
        while count < _PAGE and not self._exhausted:
            try:
                item = self._source.read()
            except Exception as error:  # noqa: BLE001 - the application's iterator may raise anything
                self._exhausted, self._stop = True, error
                break
            self._exhausted = item is None
            if item is None or item is WAITING:
                break
            count += 1
            fault, key = item.error, b""
            if item.body is not None:
                try:
                    key = make_key(item.body)
                except BadRequest as error:
                    fault = error
            if fault is None and (stored := self._stored_items.find(item, key)) is not None:
                if stored.reply is not None:
                    self._finish(item.position, item.id, stored.reply, None)
                    continue
                if stored.state == "pending":
                    continue
            fresh.append((item.position, item.id, key or None, None if fault else item.body))
            if fault is not None:
                failed.append((item, fault))
        return fresh, failed, count

    async def _fill(self) -> bool:
        """Send the next chunk. It takes its requests from the pool: the pending requests that are in no chunk.

        Return False if no request was sent and no item has finished.
        """
        import asyncio

        found_any = False
        skipped: int | None = None
        cursor = self._cursor
        plan = self._chunks.start_plan()
        for number, (position, key) in enumerate(self._queue.iterate_pool(self._cursor)):
            if number % _STEP == 0:
                await asyncio.sleep(0)  # lets a cancellation end the run here
            if plan.has(key):
                cursor = position
                continue
            found_any = True
            accepted = await self._offer(plan, key, position)
            if self._stop is not None:
                break
            if not accepted:
                skipped = position if skipped is None else skipped
                if plan.is_full:
                    break
            cursor = position
        self._cursor = min(cursor, cursor if skipped is None else skipped - 1)
        if not plan.is_empty and self._stop is None:
            await self._chunks.send(plan)
        self._save()
        return found_any and (not plan.is_empty or bool(self._finished) or self._stop is not None)

    async def _offer(self, plan: ChunkPlan, key: bytes, position: int) -> bool:
        """Add the request *key* to *plan*, unless the request has finished. Return False if it stays in the pool."""
        call = await self._prepare(key, position)
        if call is None:
            return True
        if self._moves_tail and not has_queue(call.backend):
            return False  # the request is left to the lane `now`
        try:
            return await plan.add(call, key, position)
        except BadRequest as error:
            self._fail(key, error)
            return True
        except BudgetError as error:
            if plan.is_empty and not self._chunks.has_open:
                self._stop = error
            self._chunks.wait_for_room()
            plan.is_full = True
            return False

    async def _prepare(self, key: bytes, position: int) -> ChatCall | None:
        """Return the call to send for *key*; None if there is nothing to send."""
        if key in self._buffered:
            return None
        reply = self._store.find_answer(key, position)
        if reply is not None:
            self._finish_all(key, reply, is_first=False)
            return None
        try:
            call = self.find_call(key)
        except BadRequest as error:
            self._fail(key, error)
            return None
        except STOPPING as error:
            self._stop = error
            return None
        return None if call is None or await self._find_cached(call, key, position) else call

    async def _find_cached(self, call: ChatCall, key: bytes, position: int) -> bool:
        """If the cache has the answer to the request, finish the items of the request. Return whether it has the answer."""
        if call.key is None or not call.reads:
            return False
        data = await arun(self._services.cache.lookup(call.key))
        cached = None if data is None else call.kind.decode(call, data)
        if cached is None:
            return False
        self._services.cache.stats.record_hit()
        self._answer("", key, call.kind.mark_cached(call, self._services, cached), position)
        return True

    # -- the outcomes of requests; the chunks call these methods

    def _answer(self, name: str, key: bytes, reply: Reply, position: int) -> None:
        """Store and finish the items of an answered request. If the answer does not fit the type, the items fail."""
        if name:
            if name in self._settled:
                return
            self._settled[name] = key
        error = check_answer(reply, self._answer_type)
        if error is not None:
            self._fail(key, error)
            return
        self._answers.append((key, reply, None if reply.cost is None else to_nano(reply.cost), position))
        self._finish_all(key, reply, is_first=True)
        if len(self._answers) >= _PAGE:
            self._save()

    def _finish_all(self, key: bytes, reply: Reply, *, is_first: bool) -> None:
        self._buffered.add(key)
        for number, (position, name) in enumerate(self._queue.list_items(key)):
            self._done.append(position)
            self._finish(position, name, reply if is_first and number == 0 else share(reply), None)

    def _fail(self, key: bytes, error: LLMCoreError) -> None:
        """Store and finish the items of a request that failed."""
        self._save()
        items = self._queue.list_items(key)
        self._store.finish([], [], [(position, error) for position, _ in items])
        for position, name in items:
            self._finish(position, name, None, error)
        self._count_failures(len(items))

    def _return_to_pool(self, position: int) -> None:
        self._cursor = min(self._cursor, position - 1)

    def _save(self) -> None:
        """Store the answers, then delete their requests.

        In this order, a crash loses no answer: results that are not stored yet are read from the vendor again.
        """
        if self._answers or self._done:
            self._store.finish(self._answers, self._done, [])
        self._queue.remove_billed(self._settled)
        self._answers, self._done, self._settled = [], [], {}
        self._buffered.clear()

    def _finish(
        self, position: int, name: str | None, reply: Reply | None, error: LLMCoreError | None
    ) -> None:
        self._ended += 1
        if not self._in_order:
            self._finished.append(BatchItem(index=position, id=name, reply=reply, error=error))
        elif error is not None:
            self._errors[position] = error

    def _collect(self) -> None:
        """If items are returned in order, give the reader the finished items that are next."""
        if not self._in_order:
            return
        self._save()
        while (stored := self._store.find(self.due)) is not None and stored.state != "pending":
            reply, error = stored.reply, None
            if reply is None:
                error = self._errors.pop(self.due, None) or LLMCoreError(
                    str((stored.error or {}).get("message")), code=str((stored.error or {}).get("code"))
                )
            self._finished.append(BatchItem(index=self.due, id=stored.id, reply=reply, error=error))
            self.due += 1
            if len(self._finished) >= _PAGE:
                return

    def _count_failures(self, number: int) -> None:
        self._failed += number
        if not number or self._max_failures is None or self._stop is not None:
            return
        if self._failed > self._max_failures(self._ended):
            self._stop = LLMCoreError(
                f"{self._failed} of {self._ended} items failed, more than max_failures allows",
                code="LC322",
                expected="fewer failures; the file of the run contains the error of each item",
            )
