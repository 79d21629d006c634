"""The types of a vendor's batches: requests, limits, states and results. `llmcore.types` exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from llmcore.errors import ProviderError
    from llmcore.types import ChatRequest, Reply

__all__ = ["BatchFault", "BatchLimits", "BatchRequest", "BatchResult", "BatchStatus"]


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch."""

    id: str
    """A name that is unique in the batch: 1 to 64 characters of `A-Z a-z 0-9 _ -`."""
    request: ChatRequest
    """The request. All requests of a batch have the same model and API."""


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one batch. None means that the vendor has no such limit."""

    max_requests: int | None = None
    """The maximum number of requests."""
    max_bytes: int | None = None
    """The maximum size of all requests together, as UTF-8.

    For each request, the host counts the size of its body as JSON, plus `overhead_bytes`.
    """
    max_tokens: int | None = None
    """The maximum number of input tokens that may be enqueued in all batches of the model together."""
    overhead_bytes: int = 256
    """The maximum number of bytes that the vendor's format adds to a request body."""


class BatchFault(msgspec.Struct, frozen=True, kw_only=True):
    """The reason why a vendor rejected a whole batch."""

    message: str
    """The vendor's explanation."""
    code: str = ""
    """The vendor's error code; empty if there is none."""
    index: int | None = None
    """The position of the request in the batch, from 0; None if the error concerns the whole batch."""
    is_temporary: bool = False
    """True if the vendor may accept the same batch later, for example if too many tokens are enqueued now."""


class BatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a batch."""

    id: str
    """The vendor's id of the batch."""
    state: Literal["running", "ended", "refused"]
    """`running`, `ended` or `refused`.

    `ended`: the vendor executes no further request, because all are done, or the batch expired or was cancelled.
    `refused`: no request was executed.
    """
    created_at: float = 0.0
    """The time of creation, in seconds since 1970. `expires_at` has the same unit."""
    expires_at: float | None = None
    """The time when the vendor stops executing the remaining requests."""
    total: int | None = None
    """The number of requests in the batch; None if the vendor does not report the number."""
    answered: int | None = None
    """The number of requests that the vendor has answered and bills; None if the vendor does not report the number."""
    faults: Sequence[BatchFault] = ()
    """The reasons for the rejection, if `state` is `refused`."""
    metadata: Mapping[str, str] | None = None
    """The metadata that `submit` passed to the vendor; None if the vendor does not store it."""


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one request: a reply, an error, or neither if the request was not executed and costs nothing."""

    id: str
    """The `id` of the `BatchRequest`."""
    reply: Reply | None = None
    """The answer; None if the request failed or was not executed."""
    error: ProviderError | None = None
    """The reason why the request failed; None if it was answered or not executed."""
