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
    """Unique in its batch: 1 to 64 characters of `A-Z a-z 0-9 _ -`."""
    request: ChatRequest


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one batch; None for no limit."""

    max_requests: int | None = None
    max_bytes: int | None = None
    """The size of all requests as UTF-8. The host counts the body of each request as JSON, and `overhead_bytes`."""
    max_tokens: int | None = None
    """How many input tokens may be enqueued, in all batches of the model together."""
    overhead_bytes: int = 256
    """The most that the vendor's format adds to the body of a request."""


class BatchFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a vendor refused a batch as a whole."""

    message: str
    code: str = ""
    index: int | None = None
    """The position of the request in the batch, from 0; None if the batch itself is at fault."""
    is_temporary: bool = False
    """Whether the same batch may be accepted later, as after too many enqueued tokens."""


class BatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a batch is."""

    id: str
    state: Literal["running", "ended", "refused"]
    """`ended`: no further request will be carried out, for whatever reason. `refused`: none was carried out."""
    created_at: float = 0.0
    """Seconds since 1970, as `expires_at`."""
    expires_at: float | None = None
    """When the vendor gives up what is left."""
    total: int | None = None
    answered: int | None = None
    """How many requests the vendor says it has answered, and bills. None if it does not say."""
    faults: Sequence[BatchFault] = ()
    """Why it was refused."""
    metadata: Mapping[str, str] | None = None
    """The metadata of `submit`; None if the vendor does not keep it."""


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one request: a reply, an error, or neither if it was not carried out and costs nothing."""

    id: str
    reply: Reply | None = None
    error: ProviderError | None = None
