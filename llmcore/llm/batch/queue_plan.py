"""Plan the next chunk of a run: as many requests as the vendor's limits and the budgets allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.llm.batch.estimate import count_input

if TYPE_CHECKING:
    from llmcore.llm.batch.queue_booking import Booking
    from llmcore.llm.batch.queue_store import QueueChunk, QueueStore
    from llmcore.llm.batch.vendor import Vendor
    from llmcore.llm.call import ChatCall

__all__ = ["ChunkPlan"]

_MOST_BYTES: Final = 64_000_000
"""The maximum size of a chunk in bytes. Some vendors allow more, but chunks are built in memory."""


class ChunkPlan:
    """The next chunk while it is being built: requests to one model, for one batch."""

    def __init__(
        self,
        queue: QueueStore,
        booking: Booking,
        find_vendor: Callable[[ChatCall], Vendor],
        *,
        enqueued: Callable[[str], int],
        most_size: int | None,
    ) -> None:
        self._queue = queue
        self._booking = booking
        self._find_vendor = find_vendor
        self._enqueued = enqueued
        self._most_size = most_size
        self._id = queue.make_id()
        self._model = ""
        self._requests: list[tuple[bytes, int]] = []
        self._keys: set[bytes] = set()
        self._bytes = self._tokens = 0
        self.is_full = False
        """True after a request did not fit into the chunk."""

    @property
    def is_empty(self) -> bool:
        """True if there are no requests."""
        return not self._requests

    def has(self, key: bytes) -> bool:
        """Return whether the plan contains the request *key*."""
        return key in self._keys

    async def add(self, call: ChatCall, key: bytes, position: int) -> bool:
        """Reserve the cost of *call* and add the call. Return False if the call does not fit into this chunk.

        Raises:
            BudgetError: A budget has too little left.
            BadRequest: The request exceeds the limits of a whole batch.
        """
        model = f"{call.backend.name}:{call.request.model}"
        if self._model and model != self._model:
            return False
        limits = self._find_vendor(call).get_limits(call.request.model)
        size = len(msgspec.json.encode(call.request.body(), enc_hook=repr)) + limits.overhead_bytes
        tokens = 0 if limits.max_tokens is None else count_input(call)[0]
        most = min(limits.max_bytes or _MOST_BYTES, _MOST_BYTES)
        if size > most:
            raise BadRequest(
                f"the request has {size:,} bytes, more than a batch may have",
                code="LC303",
                expected=f"at most {most:,} bytes",
            )
        is_too_much = (
            self._bytes + size > most
            or (limits.max_requests is not None and len(self._requests) >= limits.max_requests)
            or (self._most_size is not None and len(self._requests) >= self._most_size)
            or (
                limits.max_tokens is not None
                and self._enqueued(model) + self._tokens + tokens > limits.max_tokens
            )
        )
        if is_too_much:
            if self.is_empty and not self._enqueued(model):
                raise BadRequest(
                    f"the request has {tokens:,} tokens, more than the queue of {model} takes",
                    code="LC303",
                    expected=f"at most {limits.max_tokens:,} tokens",
                )
            self.is_full = True
            return False
        await self._booking.reserve(call, self._queue.make_name(self._id, len(self._requests)))
        self._model = model
        self._requests.append((key, position))
        self._keys.add(key)
        self._bytes += size
        self._tokens += tokens
        return True

    def store(self) -> QueueChunk:
        """Record the intent to create the batch."""
        return self._queue.add(self._model, self._requests, self._tokens)
