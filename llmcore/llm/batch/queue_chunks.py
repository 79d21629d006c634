"""The chunks of a run in a vendor's queue: create each batch once, poll it, and settle each request once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from llmcore.errors import BadRequest, LLMCoreError, ProviderError
from llmcore.llm.batch.live_lane import STOPPING
from llmcore.llm.batch.queue_plan import ChunkPlan
from llmcore.llm.batch.queue_settlement import ChunkWork, OpenRequests, QueueSettlement
from llmcore.llm.batch.queue_store import QueueChunk
from llmcore.llm.batch.vendor import Unconfirmed, Vendor
from llmcore.types import BatchFault, BatchRequest, BatchStatus

if TYPE_CHECKING:
    from llmcore.llm.batch.queue_booking import Booking
    from llmcore.llm.batch.queue_store import QueueStore
    from llmcore.llm.call import ChatCall

__all__ = ["Chunks"]

_MOST_CREATIONS: Final = 8
"""The run stops after this many attempts in a row to create a batch have failed, for example because of rate limits."""
_CONFIRM_S: Final = 60.0
"""Seconds after which a batch that the vendor does not list counts as not created.

The vendor may still create a batch after the connection has ended, and may list a new batch late.
"""
_ANSWERED_CONFIRM_S: Final = 2.0
"""Seconds after which a batch that is not listed counts as not created, if the vendor
answered the request to create it with an error."""
_CLOCKS_S: Final = 600.0
"""The maximum difference between the vendor's clock and the local one, in seconds."""
_TAIL: Final = 24
"""In the last 1/24 of a batch's time window, the requests that have no result yet move to the lane `now`."""
_DAY_S: Final = 86_400.0
_FIRST_PAUSE_S: Final = 1.0
_MOST_PAUSE_S: Final = 120.0


class Chunks:
    """The chunks of one run."""

    def __init__(
        self,
        queue: QueueStore,
        booking: Booking,
        work: ChunkWork,
        *,
        run_id: str,
        moves_tail: bool,
        drains: bool,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._queue = queue
        self._booking = booking
        self._work = work
        self._settlement = QueueSettlement(queue, booking, work, limits_tries=not (moves_tail or drains))
        self._run_id = run_id
        self._report = report or (lambda _: None)
        self._moves_tail = moves_tail
        self._drains = drains
        self._is_over = drains
        """True if no further batches are created."""
        self._unconfirmed: dict[int, float] = {}
        """Id of a chunk with a batch that may exist -> the monotonic time until which this batch is searched for."""
        self._cancelled: set[int] = set()
        self._paused_until = 0.0
        self._failures = 0
        """The number of consecutive creations that failed."""
        self._refusals = 0
        """The number of batches in a row that the vendor refused after their creation."""
        self._waits_for_room = False
        self._most_size: int | None = None
        """The maximum size of a chunk after the vendor has rejected a chunk. If None, only the vendor's limit applies."""
        self._open = queue.list_open()
        self._vendors: dict[str, Vendor] = {}

    @property
    def has_open(self) -> bool:
        """True if there may be a batch with unsettled requests."""
        return bool(self._open)

    @property
    def can_submit(self) -> bool:
        """True if another batch may be created now."""
        return not (self._is_over or self._waits_for_room or self.is_waiting)

    @property
    def is_waiting(self) -> bool:
        """True during the pause after a failed creation."""
        return not self._is_over and time.monotonic() < self._paused_until

    def get_longest_pause(self) -> float:
        """Return the maximum seconds to wait. After that time there is something to do even if no batch has ended."""
        waits = [_MOST_PAUSE_S]
        if self.is_waiting:
            waits.append(self._paused_until - time.monotonic())
        if self._moves_tail and not self._is_over:
            waits += [_get_tail(chunk) - time.time() for chunk in self._open if chunk.batch is not None]
        now = time.monotonic()
        waits += [until - now for until in self._unconfirmed.values() if until > now]
        return max(0.05, min(waits))

    def wait_for_room(self) -> None:
        """Create no batch until one has ended, because a budget or the vendor's limit is exhausted."""
        self._waits_for_room = True

    async def begin(self) -> None:
        """Load the chunks and reservations that an earlier process left."""
        self._booking.load(self._queue.began)
        await self.release_unused()
        keys = {each.name: each.key for chunk in self._open for each in self._queue.list_requests(chunk)}
        self._booking.load_unbooked(keys, lambda name: self._work.find_call(keys[name]), self._queue.began)
        until = time.monotonic() + _CONFIRM_S
        self._unconfirmed = {chunk.id: until for chunk in self._open if chunk.state == "intent"}

    async def release_unused(self) -> None:
        """Release reservations of requests that are in no chunk."""
        for name in self._booking.names:
            if self._queue.find(name) is None:
                await self._booking.release(name)

    # -- create

    def start_plan(self) -> ChunkPlan:
        """Return an empty plan for the next chunk."""
        return ChunkPlan(
            self._queue,
            self._booking,
            self._find_vendor,
            enqueued=lambda model: sum(chunk.tokens for chunk in self._open if chunk.model == model),
            most_size=self._most_size,
        )

    async def send(self, plan: ChunkPlan) -> None:
        """Record the intent to create the batch, then create it."""
        chunk = plan.store()
        self._open.append(chunk)
        await self._create(chunk)

    async def _create(self, chunk: QueueChunk) -> bool:
        metadata = {"llmcore_run": self._run_id, "llmcore_chunk": self._make_label(chunk)}
        try:
            requests = await self._collect(chunk)
            status = await self._get_vendor(chunk).submit(requests, metadata)
        except Unconfirmed as error:
            patience_s = _ANSWERED_CONFIRM_S if error.is_answered else _CONFIRM_S
            self._unconfirmed[chunk.id] = time.monotonic() + patience_s
            self._report(f"looking for a batch of {chunk.size:,} requests whose creation was not confirmed")
            return True
        except STOPPING:
            await self._return(chunk)
            raise
        except BadRequest as error:
            await self._divide(chunk, error)
            return True
        except ProviderError as error:
            self._failures += 1
            if not error.retryable or self._failures >= _MOST_CREATIONS:
                await self._return(chunk)
                raise
            pause = _compute_pause(self._failures)
            self._paused_until = time.monotonic() + (
                pause if error.retry_after is None else error.retry_after
            )
            return False
        self._failures = 0
        self._most_size = None if self._most_size is None else self._most_size * 2
        self._adopt(chunk, status)
        return True

    async def _collect(self, chunk: QueueChunk) -> list[BatchRequest]:
        """Return the requests of *chunk*, each with a reservation.

        Raises:
            BudgetError: An earlier process released a reservation before that process ended, and the budget has no
                room to reserve again.
        """
        requests: list[BatchRequest] = []
        for each in self._queue.list_requests(chunk):
            call = self._work.find_call(each.key)
            if call is not None:
                if not self._booking.has(each.name):
                    await self._booking.reserve(call, each.name)
                requests.append(BatchRequest(id=each.name, request=call.request))
        return requests

    def _adopt(self, chunk: QueueChunk, status: BatchStatus) -> None:
        self._unconfirmed.pop(chunk.id, None)
        found = self._queue.mark_created(chunk, status.id, status.expires_at)
        due = (
            ""
            if status.expires_at is None
            else f", due by {time.strftime('%H:%M on %d %b', time.localtime(status.expires_at))}"
        )
        self._report(f"{chunk.size:,} requests are in the queue of {chunk.model} as {status.id}{due}")
        self._open[self._open.index(chunk)] = found

    async def _divide(self, chunk: QueueChunk, error: LLMCoreError) -> None:
        """Send the requests of a rejected chunk again in smaller chunks, until only the faulty request fails."""
        requests = self._queue.list_requests(chunk)
        if len(requests) == 1:
            await self._settlement.fail(requests[0], error)
            self._end(chunk)
            return
        self._most_size = max(1, len(requests) // 2)
        await self._return(chunk)

    async def _confirm(self, chunk: QueueChunk, vendor: Vendor) -> bool:
        """Find out whether the batch of *chunk* was created. Return False if that cannot be decided yet."""
        asked_at = time.monotonic()
        found = await vendor.list_batches(chunk.created - _CLOCKS_S)
        if found is None:
            for each in self._queue.list_requests(chunk):
                await self._settlement.lose(each, "may or may not have been created")
            self._end(chunk)
            return True
        is_undecided, size = False, len(self._queue.list_requests(chunk))
        for status in found:
            if status.metadata is not None:
                is_ours: bool | None = status.metadata.get("llmcore_chunk") == self._make_label(chunk)
            elif self._queue.has_batch(status.id) or status.total not in {None, size}:
                is_ours = False
            else:
                is_ours = await self._is_ours(chunk, status, vendor)
            if is_ours:
                self._adopt(chunk, status)
                return True
            is_undecided |= is_ours is None
        if is_undecided or asked_at < self._unconfirmed[chunk.id]:
            return False
        del self._unconfirmed[chunk.id]
        return True

    async def _is_ours(self, chunk: QueueChunk, status: BatchStatus, vendor: Vendor) -> bool | None:
        """Return whether the results of a batch without metadata belong to *chunk*; None if there are no results yet."""
        if status.state == "running":
            return None
        async with vendor.open_results(status.id, OpenRequests(self._queue, self._work)) as results:
            async for result in results:
                each = self._queue.find(result.id)
                return each is not None and each.name.startswith(f"{self._make_label(chunk)}-")
        return False

    # -- watch

    async def advance(self) -> bool:
        """Poll each batch, and settle the finished ones. Return whether anything changed."""
        has_changed = False
        for chunk in list(self._open):
            has_changed |= await self._advance(chunk)
        return has_changed

    async def _advance(self, chunk: QueueChunk) -> bool:
        # If no request is left, an earlier process settled all of them, but ended before it marked the chunk as done.
        if not self._queue.has_requests(chunk):
            self._end(chunk)
            return True
        vendor = self._get_vendor(chunk)
        try:
            if chunk.batch is None:
                return await self._resolve_intent(chunk, vendor)
            status = await vendor.get_status(chunk.batch)
            if status.state == "running":
                return await self._hurry(chunk, chunk.batch, vendor)
            if status.state == "refused":
                return await self._handle_refusal(chunk, status)
            return await self._settle(chunk, chunk.batch, vendor, status)
        except ProviderError as error:
            if not error.retryable or isinstance(error, STOPPING):
                raise
            return False  # the next call of this method asks again

    async def _resolve_intent(self, chunk: QueueChunk, vendor: Vendor) -> bool:
        """Create the batch of *chunk*, or find out whether an earlier attempt has created it."""
        if chunk.id in self._unconfirmed:
            return await self._confirm(chunk, vendor)
        if self._is_over:
            await self._return(chunk)
            return True
        return False if self.is_waiting else await self._create(chunk)

    async def _hurry(self, chunk: QueueChunk, batch: str, vendor: Vendor) -> bool:
        """Cancel *batch* if the lane drains, or if the batch is near its end and the lane `now` takes the remaining requests."""
        if chunk.id in self._cancelled or not (
            self._drains or (self._moves_tail and time.time() >= _get_tail(chunk))
        ):
            return False
        self._is_over = True
        self._cancelled.add(chunk.id)
        self._report(
            f"cancelling {batch}: its remaining requests are {'released' if self._drains else 'sent now'}"
        )
        await vendor.cancel(batch)
        return True

    async def _handle_refusal(self, chunk: QueueChunk, status: BatchStatus) -> bool:
        """Put the requests of a batch that the vendor rejected after its creation back into the pool. Faulty requests fail."""
        faults: dict[int, BatchFault] = {each.index: each for each in status.faults if each.index is not None}
        if any(each.is_temporary for each in status.faults):
            self._refusals += 1
            self._paused_until = time.monotonic() + _compute_pause(self._refusals)
            self._most_size = max(1, chunk.size // 2)
            await self._return(chunk)
            self._waits_for_room = bool(self._open)
            return True
        if not faults:
            text = "; ".join(each.message for each in status.faults) or "no reason was given"
            await self._divide(chunk, BadRequest(f"the batch {status.id} was refused: {text}"))
            return True
        # Begin at the end, so that the positions of the remaining requests stay correct if the process ends in
        # between.
        for number, each in reversed(list(enumerate(self._queue.list_requests(chunk)))):
            if number in faults:
                text = f"the vendor refused the request: {faults[number].message}"
                await self._settlement.fail(each, BadRequest(text))
            else:
                await self._settlement.give_back(each)
        self._end(chunk)
        return True

    async def _settle(self, chunk: QueueChunk, batch: str, vendor: Vendor, status: BatchStatus) -> bool:
        try:
            if not await self._settlement.settle(chunk, batch, vendor, status):
                return False
            self._refusals = 0
        finally:
            self._is_over |= self._moves_tail and self._settlement.has_retries
            if not self._queue.list_requests(chunk):
                self._end(chunk)
        return True

    async def _return(self, chunk: QueueChunk) -> None:
        """Put the remaining requests of *chunk* back into the pool, because the vendor did not execute them."""
        for each in reversed(self._queue.list_requests(chunk)):
            await self._settlement.give_back(each)
        self._end(chunk)

    def _end(self, chunk: QueueChunk) -> None:
        self._work.save()
        self._queue.mark_done(chunk)
        if chunk.batch is not None:
            self._report(f"{chunk.batch} has ended")
        self._open = self._queue.list_open()
        self._waits_for_room = False

    # -- helpers

    def _make_label(self, chunk: QueueChunk) -> str:
        return self._queue.make_name(chunk.id, 0).rpartition("-")[0]

    def _get_vendor(self, chunk: QueueChunk) -> Vendor:
        if chunk.model not in self._vendors:
            requests = self._queue.list_requests(chunk)
            call = self._work.find_call(requests[0].key) if requests else None
            if call is not None:
                return self._find_vendor(call)
        return self._vendors[chunk.model]

    def _find_vendor(self, call: ChatCall) -> Vendor:
        model = f"{call.backend.name}:{call.request.model}"
        if model not in self._vendors:
            self._vendors[model] = Vendor(call.backend)
        return self._vendors[model]


def _get_tail(chunk: QueueChunk) -> float:
    """Return the time, in seconds since 1970, when the last 1/24 of the time window of *chunk* begins."""
    expires = chunk.created + _DAY_S if chunk.expires is None else chunk.expires
    return expires - (expires - chunk.created) / _TAIL


def _compute_pause(times: int) -> float:
    """Return the seconds to wait after *times* failures in a row."""
    return min(_FIRST_PAUSE_S * 2.0 ** min(times - 1, 30), _MOST_PAUSE_S)
