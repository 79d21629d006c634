"""The values that a shared store of rate limits receives and returns; see `llmcore.contracts.CacheRateLimits`."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = [
    "BURST_S",
    "REMEMBERED_S",
    "LimitScope",
    "PermitAnswer",
    "PermitRequest",
    "PermitReturn",
    "ProcessReport",
    "ScopeReport",
]

BURST_S: Final = 1.0
"""The burst of a rate: the units that refill in this many seconds, but at least one unit."""


REMEMBERED_S: Final = 50.0
"""A store keeps the state of a scope for at least this time after its last use, in seconds."""


class LimitScope(msgspec.Struct, frozen=True):
    """The limits of one provider or one model. None means unlimited."""

    name: str
    """"provider" or "provider:model"."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrency: int | None = None
    """The maximum number of concurrent calls."""


class PermitRequest(msgspec.Struct, frozen=True):
    """A call that asks for a permit. A refused call asks again, with the `arrived` of the first answer."""

    id: str
    """Identifies the call among all processes: "process:number". The text has no spaces."""
    provider: str
    """All scopes of a request belong to this provider."""
    scopes: tuple[LimitScope, ...]
    """The scope of the model, the scope of the provider, or both, in this order."""
    tokens: int
    """The tokens to reserve."""
    patience_s: float
    """The maximum wait in seconds. If the permit cannot be granted in this time, the call does not join the queue."""
    lease_s: float
    """A slot of a concurrency limit becomes free if `report_process` does not renew it for this many seconds."""
    arrived: int = 0
    """The place in the queue: 0 in the first request, then the value that the first answer returned."""
    debts_s: tuple[tuple[float, float] | None, ...] = ()
    """For each of *scopes*, the debts of requests and of tokens that the process knows. A debt is the seconds until a
    bucket is full again. None means that the store may have forgotten the scope; see `REMEMBERED_S`.

    A store that does not know a scope with debts in this list has lost its data, and begins with empty buckets.
    """
    processes: int = 0
    """The number of processes that the store reported last; 0 if the store may have forgotten this process.

    If the number is not 0, a store that does not know this process has lost its data. The store then grants no slot
    until this number of processes have reported the slots of their calls, or one lease has passed.
    """


class PermitAnswer(msgspec.Struct, frozen=True):
    """The answer to a request: a permit, or the wait."""

    granted: bool
    ticket: int = 0
    """Identifies the reservation when it is refunded."""
    debts_s: tuple[tuple[float, float], ...] = ()
    """For each scope, the seconds until its buckets of requests and of tokens are full again."""
    wait_s: float | None = None
    """The predicted wait in seconds; None if the call waits for another call to end."""
    pause_s: float = 0.0
    """The seconds after which the call must ask again. A call that asks much later loses its place in the queue."""
    arrived: int = 0
    """The place in the queue."""
    wants_report: bool = False
    """True if the store has lost its data and waits for the report of this process; see `PermitRequest.processes`."""


class PermitReturn(msgspec.Struct, frozen=True):
    """A call that has ended, or that has stopped waiting."""

    id: str
    provider: str
    scopes: tuple[LimitScope, ...]
    tokens: int
    """The reserved tokens, as in the request."""
    ticket: int = 0
    """The ticket of the permit; 0 if the call has none."""
    unused: int = 0
    """Tokens to refund; negative if the call used more than it reserved."""


class ScopeReport(msgspec.Struct, frozen=True):
    """The report of a process about one scope."""

    scope: LimitScope
    held: tuple[str, ...] = ()
    """The ids of the calls that have a slot of this scope."""
    debts_s: tuple[float, float] = (0.0, 0.0)
    """The least debts of requests and of tokens, in seconds, that the process knows.

    The store raises its debts to these bounds, because it may have lost the debts in a restart.
    """
    spent_s: tuple[float, float] = (0.0, 0.0)
    """The amounts that the process used during an outage, in seconds of refill. The store adds them to the debts."""


class ProcessReport(msgspec.Struct, frozen=True):
    """The report of a process about the scopes of one provider."""

    process: str
    """Identifies the process."""
    provider: str
    scopes: tuple[ScopeReport, ...]
    lease_s: float
    """The process counts as alive for this many seconds; 0 if it leaves."""
    processes: int = 0
    """See `PermitRequest.processes`."""
