"""Settle each request of a vendor's batch exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.errors import LLMCoreError, MalformedReply, NotFound, Unavailable
from llmcore.llm.batch.live_lane import STOPPING
from llmcore.types import ChatRequest

if TYPE_CHECKING:
    from llmcore.llm.batch.queue_booking import Booking
    from llmcore.llm.batch.queue_store import QueueChunk, Queued, QueueStore
    from llmcore.llm.batch.vendor import Vendor
    from llmcore.llm.call import ChatCall
    from llmcore.types import BatchResult, BatchStatus, Reply

__all__ = ["ChunkWork", "OpenRequests", "QueueSettlement"]

_MOST_TRIES: Final = 4
"""If the number of tries is limited, a request fails after this many batches in which the vendor did not execute it."""
_MOST_LOOKS: Final = 4
"""A request without a result counts as lost after the results of its batch were read this many times."""


class ChunkWork(NamedTuple):
    """Functions of the lane `queue`, which find the call of a request and record the outcome of a request."""

    find_call: Callable[[bytes], ChatCall | None]
    answer: Callable[[str, bytes, Reply, int], None]
    fail: Callable[[bytes, LLMCoreError], None]
    return_to_pool: Callable[[int], None]
    save: Callable[[], None]


class QueueSettlement:
    """Settles the requests of one run.

    Each result is written to the ledger first, then to the file of the run. After a crash in between, the result is
    read from the vendor again. It is not booked twice, because the ledger has no open row for the request.
    """

    def __init__(self, queue: QueueStore, booking: Booking, work: ChunkWork, *, limits_tries: bool) -> None:
        self._queue = queue
        self._booking = booking
        self._work = work
        self._limits_tries = limits_tries
        self._looks: dict[int, int] = {}
        self.has_retries = False
        """True if there is a request that the vendor did not execute."""

    async def settle(self, chunk: QueueChunk, batch: str, vendor: Vendor, status: BatchStatus) -> bool:
        """Settle the requests of the finished batch *batch*. Return False if the results are not complete yet.

        Raises:
            LLMCoreError: An error that every further request would also get. All results are settled before the
                error is raised.
        """
        known = self._queue.count_billed(chunk)
        seen: set[str] = set()
        stop: BaseException | None = None
        try:
            async with vendor.open_results(batch, OpenRequests(self._queue, self._work)) as results:
                async for result in results:
                    if result.id in seen or (each := self._queue.find(result.id)) is None:
                        continue
                    seen.add(result.id)
                    known += result.reply is not None
                    try:
                        await self._settle_one(each, result)
                    except STOPPING as error:
                        stop = error
        except NotFound:  # the results are deleted or not yet available
            pass
        finally:
            self._work.save()
        missing = [each for each in self._queue.list_requests(chunk) if each.name not in seen]
        unknown = len(missing) if status.answered is None else min(status.answered - known, len(missing))
        if unknown > 0:
            self._looks[chunk.id] = self._looks.get(chunk.id, 0) + 1
            if self._looks[chunk.id] < _MOST_LOOKS:
                return False
        for each in missing:
            if unknown > 0:
                await self.lose(each, f"{batch} has no result for this request")
            else:
                await self._try_again(each)
        if stop is not None:
            raise stop
        return True

    async def _settle_one(self, each: Queued, result: BatchResult) -> None:
        call = self._work.find_call(each.key)
        if call is None:
            return
        if result.reply is not None:
            reply = await self._booking.settle(call, each.name, result.reply)
            self._work.answer(each.name, each.key, reply, each.position)
        elif result.error is None or result.error.retryable:
            await self._try_again(each)
        elif isinstance(result.error, STOPPING):
            await self.give_back(each)
            raise result.error
        else:
            await self.fail(each, result.error)

    async def _try_again(self, each: Queued) -> None:
        """Put a request that was not executed back into the pool, or fail it if the tries are limited and used up."""
        self.has_retries = True
        if self._limits_tries and self._queue.count_try(each.key) >= _MOST_TRIES:
            await self.fail(
                each, Unavailable(f"the vendor did not carry out the request in {_MOST_TRIES} batches")
            )
            return
        await self.give_back(each)

    async def lose(self, each: Queued, what: str) -> None:
        """Fail a request with an unknown outcome."""
        await self._booking.lose(each.name)
        error = MalformedReply(
            f"the batch {what}; the request is booked at its maximum cost",
            expected="a result for each request that the vendor has answered",
            notes=("resuming the run sends the request again",),
        )
        self._work.fail(each.key, error)
        self._queue.remove_billed([each.name])

    async def fail(self, each: Queued, error: LLMCoreError) -> None:
        """Fail a request that the vendor rejected, or did not execute in any of its tries. The request costs nothing."""
        await self._booking.refuse(each.name, error)
        self._work.fail(each.key, error)
        self._queue.remove([each.name])

    async def give_back(self, each: Queued) -> None:
        """Put a request that was not executed back into the pool."""
        # remove the request first: if the process ends in between, the reservation is released later
        self._queue.remove([each.name])
        await self._booking.release(each.name)
        self._work.return_to_pool(each.position)


class OpenRequests(Mapping[str, ChatRequest]):
    """The unsettled requests, loaded from the file of the run."""

    def __init__(self, queue: QueueStore, work: ChunkWork) -> None:
        self._queue = queue
        self._work = work

    def __getitem__(self, name: str) -> ChatRequest:
        each = self._queue.find(name)
        call = None if each is None else self._work.find_call(each.key)
        if call is None:
            raise KeyError(name)
        return call.request

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("requests can be looked up by name, but not listed or counted")

    def __len__(self) -> int:
        raise NotImplementedError("requests can be looked up by name, but not listed or counted")

    def __contains__(self, name: Any) -> bool:
        return self._queue.find(name) is not None
