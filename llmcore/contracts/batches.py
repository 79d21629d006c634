"""The optional ability of a language model to answer batches later at a lower price.

Implement the sync or the async protocol. The host provides the missing variant.
"""

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

    The host divides a run into batches. If the vendor did not execute a request, the host sends it again. The host
    books the cost of each request at the price of the service tier "batch".
    """

    def submit(self, requests: Sequence[BatchRequest], metadata: Mapping[str, str]) -> BatchStatus:
        """Create a batch and return its status.

        Args:
            requests: Requests to one model, within the limits that `BatchBounds` reports.
            metadata: At most four short texts to store with the batch, if the vendor supports that. The host looks for
                them in the result of `list_batches`, to find a batch whose creation was not confirmed.

        Raises:
            BadRequest: The vendor rejected the requests; nothing was created.
            ProviderError: As in `LLMProvider.complete`. If the error's `sent` is False, or the answer has an error
                status, no batch was created. After other errors, the host looks for the batch with `list_batches`.
        """
        ...

    def status(self, batch: str) -> BatchStatus:
        """Return the status of the batch with the id *batch*.

        Raises:
            NotFound: The batch does not exist.
            ProviderError: As in `LLMProvider.complete`.
        """
        ...

    def results(self, batch: str, requests: Mapping[str, ChatRequest]) -> Iterator[BatchResult]:
        """Yield the results of a finished batch in any order.

        Include the results of rejected and expired requests. Skip unreadable results. `BatchStatus.answered` decides
        whether a request without a result is sent again, or is booked with an unknown outcome. The replies have the
        service tier "batch".

        Args:
            batch: The id of the batch.
            requests: The requests by id. A request is loaded when it is accessed. Some requests may be missing.

        Raises:
            ProviderError: As in `LLMProvider.complete`.
        """
        ...

    def cancel(self, batch: str) -> None:
        """Cancel a batch. Existing answers remain and are billed. A finished batch does not change.

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
    """List the batches of the account, blocking.

    With this method, the host finds batches whose creation was not confirmed.
    """

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

        Do not use the network. Without this method, a batch has at most 10,000 requests, and 50 MB in total.
        """
        ...
