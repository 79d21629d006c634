"""The optional ability of a language model to answer batches later, at a lower price. Implement sync or async; the host bridges to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from llmcore.types import BatchLimits, BatchRequest, BatchResult, BatchStatus, ChatRequest

__all__ = [
    "AsyncBatchLLMProvider",
    "AsyncBatchListing",
    "BatchBounds",
    "BatchLLMProvider",
    "BatchListing",
]


@runtime_checkable
class BatchLLMProvider(Protocol):
    """Answer batches of requests, blocking.

    The host divides a run into batches, reserves and books the cost of each request at the price of the service tier
    "batch", and sends requests again that were not carried out.
    """

    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        """Create a batch, and return it.

        Args:
            requests: Requests to one model, within the limits that `BatchBounds` reports.
            metadata: At most four short texts to store with the batch, if the vendor can: by them, `list_batches` finds a
                batch whose creation was not confirmed.

        Raises:
            BadRequest: The vendor refused the requests; nothing was created.
            ProviderError: As in `LLMProvider.complete`. With `sent` False, or with a status of an error, nothing was
                created. Otherwise the host looks for the batch with `list_batches`.
        """
        ...

    def status(self, batch: str) -> BatchStatus:
        """Return how far the batch with the id *batch* is.

        Raises:
            NotFound: There is no such batch.
            ProviderError: As in `LLMProvider.complete`.
        """
        ...

    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        """Yield the results of a batch that has ended, in any order.

        Include those of refused and of expired requests. Skip what cannot be read: the host treats a request without a
        result as one with an unknown outcome, or sends it again, depending on `BatchStatus.answered`. The replies
        have the service tier "batch".

        Args:
            batch: The id of the batch.
            requests: The requests by their ids, read when they are needed. Some may be missing.

        Raises:
            ProviderError: As in `LLMProvider.complete`.
        """
        ...

    def cancel(self, batch: str) -> None:
        """End a batch early. What was answered until then stays, and is billed. A batch that has ended stays as it is.

        Raises:
            ProviderError: As in `status`.
        """
        ...


@runtime_checkable
class AsyncBatchLLMProvider(Protocol):
    """Answer batches of requests, asynchronously; see `BatchLLMProvider`."""

    async def asubmit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        """See `BatchLLMProvider.submit`."""
        ...

    async def astatus(self, batch: str) -> BatchStatus:
        """See `BatchLLMProvider.status`."""
        ...

    def aresults(self, batch: str, requests: Mapping[str, ChatRequest]) -> AsyncIterator[BatchResult]:
        """See `BatchLLMProvider.results`. Write it as `async def` with `yield`."""
        ...

    async def acancel(self, batch: str) -> None:
        """See `BatchLLMProvider.cancel`."""
        ...


@runtime_checkable
class BatchListing(Protocol):
    """List the batches of the account, blocking. The host finds batches with it whose creation was not confirmed."""

    def list_batches(self, since: float) -> Sequence[BatchStatus]:
        """Return the batches that were created at *since* (seconds since 1970) or later.

        Raises:
            ProviderError: As in `LLMProvider.complete`.
        """
        ...


@runtime_checkable
class AsyncBatchListing(Protocol):
    """List the batches of the account, asynchronously."""

    async def alist_batches(self, since: float) -> Sequence[BatchStatus]:
        """See `BatchListing.list_batches`."""
        ...


@runtime_checkable
class BatchBounds(Protocol):
    """Report the limits of one batch. The host divides a run accordingly."""

    def batch_limits(self, model: str) -> BatchLimits:
        """Return the limits of *model*.

        Never use the network. Without this method, a batch has at most 10,000 requests of 50 MB.
        """
        ...
