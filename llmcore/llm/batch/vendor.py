"""Call the queue of a vendor, for the lane `queue`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from llmcore.calls.backend_call import call_backend, call_offline, track
from llmcore.calls.bridges import END, PieceStream
from llmcore.calls.drivers import arun
from llmcore.errors import LLMCoreError, PluginError, ProviderError
from llmcore.support.sending import Sending
from llmcore.types import BatchLimits, BatchRequest, BatchResult, BatchStatus, ChatRequest

if TYPE_CHECKING:
    from llmcore.calls.backend import Backend

__all__ = ["Unconfirmed", "Vendor", "has_queue"]

_LIMITS: Final = BatchLimits(max_requests=10_000, max_bytes=50_000_000)
"""The limits for a provider without the ability `BatchBounds`."""
_REFUSED: Final = range(400, 500)
_FAILED: Final = frozenset({500, 503, 529})
"""HTTP statuses by which the vendor reports that it did not create the batch.

After another status, such as 504, the vendor may still create the batch.
"""


class Unconfirmed(Exception):
    """The creation of a batch was not confirmed. The batch may exist."""

    def __init__(self, *, is_answered: bool) -> None:
        super().__init__()
        self.is_answered = is_answered
        """True if the vendor answered with one of the statuses in `_FAILED`, so it no longer works on the request."""


class Vendor:
    """Calls the methods of `llmcore.contracts.batches` on one backend."""

    def __init__(self, backend: Backend) -> None:
        """Use *backend*.

        Raises:
            PluginError: The backend has no queue.
        """
        if not has_queue(backend):
            raise PluginError(
                f"the llm provider `{backend.name}` has no queue for batches",
                where=f"[llm] provider = {backend.name}",
                expected="a provider with `submit`, such as openai or anthropic, or the lane now",
                fix='core.llm.batch(items, lane="now")',
            )
        self._backend = backend

    def get_limits(self, model: str) -> BatchLimits:
        """Return the limits of one batch."""
        method: Any = getattr(self._backend.provider, "batch_limits", None)
        limits: BatchLimits = _LIMITS if method is None else call_offline(self._backend, method, model)
        return limits

    async def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        """Create a batch.

        Raises:
            LLMCoreError: The batch was not created.
            Unconfirmed: The batch may have been created.
        """
        sending = Sending()
        step = track(self._backend.require("submit")(requests, metadata), sending)
        try:
            status: BatchStatus = await arun(call_backend(self._backend, step))
        except LLMCoreError as error:
            answered = getattr(error, "status", None)
            is_unsent = sending.withdraw() or (isinstance(error, ProviderError) and not error.sent)
            if is_unsent or answered in _REFUSED or not isinstance(error, ProviderError):
                raise
        else:
            return status
        raise Unconfirmed(is_answered=answered in _FAILED)

    async def get_status(self, batch: str) -> BatchStatus:
        """Return the status of a batch."""
        status: BatchStatus = await self._call("status", batch)
        return status

    async def cancel(self, batch: str) -> None:
        """Cancel a batch."""
        await self._call("cancel", batch)

    async def list_batches(self, since: float) -> Sequence[BatchStatus] | None:
        """Return the batches that were created at *since* or later; None if the provider cannot list them."""
        if self._backend.find_ability("list_batches") is None:
            return None
        found: Sequence[BatchStatus] = await self._call("list_batches", since)
        return found

    @asynccontextmanager
    async def open_results(
        self, batch: str, requests: Mapping[str, ChatRequest]
    ) -> AsyncIterator[AsyncIterator[BatchResult]]:
        """Yield an iterator over the results of a finished batch."""
        stream = PieceStream(self._backend.provider, "results", batch, requests)

        async def read() -> AsyncIterator[BatchResult]:
            while (piece := await arun(call_backend(self._backend, stream.next))) is not END:
                yield piece

        try:
            yield read()
        finally:
            await arun(call_backend(self._backend, stream.close))

    async def _call(self, name: str, *args: Any) -> Any:
        return await arun(call_backend(self._backend, self._backend.require(name)(*args)))


def has_queue(backend: Backend) -> bool:
    """Return whether the provider of *backend* has a queue for batches."""
    return backend.find_ability("submit") is not None
