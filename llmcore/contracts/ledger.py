"""The contract of a ledger: it keeps a row for each request, and counts the rows in budgets.

A row and the counters of the budgets that cover it change in one transaction, so a counter is always the sum of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from llmcore.support.ledger_rows import LedgerRow, RowQuery
from llmcore.support.ledger_values import (
    ApiKey,
    Counter,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)

__all__ = ["AsyncLedgerProvider", "LedgerKeys", "LedgerProvider"]


@runtime_checkable
class LedgerProvider(Protocol):
    """Keep rows and counters, blocking. Several threads may call at the same time.

    Every method takes a timeout in seconds: how long it may wait for locks and connections. Every method raises
    `LedgerUnavailable` if the ledger cannot be used, with `busy=True` if only the timeout ended. A method that raises has
    either done nothing or will be repeated by the host with the same `key` or `batch`; repeating it must change nothing.

    A provider may also have the async variant of each method, with the same arguments: `areserve`, `asettle` and so on; see
    `AsyncLedgerProvider`.
    """

    location: str
    """Where the ledger is, for errors: a path, or an address without its password."""

    def prepare(self, timeout_s: float) -> bool:
        """Create or migrate the tables, and settle the rows of dead owners; return whether the ledger has budgets.

        The host calls it before the first request. Raises `LedgerUnavailable`, and changes nothing, if a later version of
        llmcore has written the ledger.
        """
        ...

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        """Open a row that reserves the maximum, or return the first limit whose rest is smaller.

        In one transaction: create the counters of `request.limits` that do not exist (from the rows of their period), compare,
        insert the row, and add the maximum to the `reserved` of every counter that covers the request, including the counters
        that only other processes know. If a row with `request.key` exists, return it and reserve nothing. The row belongs to
        this process: until it is settled, `recover` must be able to tell whether this process is alive.
        """
        ...

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        """Close rows in one transaction; return the updated counters.

        Each counter that covers a row releases the reservation and adds the cost to its `spent`, in the periods of the time
        at which the row was opened. A row whose request was not made (`requested` is False) is deleted. A row that is closed
        already, or does not exist, changes nothing; a row that another process settled because this one seemed dead takes the
        real outcome.
        """
        ...

    def recover(self, timeout_s: float) -> int:
        """Settle the open rows of dead owners at their maximum, with the state `lost`; return their number.

        Their requests may have been answered. A dead owner's rows must be settled within 30 seconds of its end if any
        process calls this method.
        """
        ...

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        """Insert closed rows: cache hits, and requests that were booked while the ledger could not be reached.

        Counters add what they cost. A second call with the same *batch* changes nothing; the host will not repeat the batches
        in *forget*. The `id` of a row is ignored.
        """
        ...

    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        """Return the counters of all budgets in the periods that contain *at*, sorted by their text, and change nothing.

        A scope of *scopes* that has no counter yet is computed from the rows of its period.
        """
        ...

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        """Raise `alerted` of the counter to *amount*; return False if it is as high already.

        Of all processes that try, one gets True.
        """
        ...

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        """Yield the rows that match, in the order of their time.

        Holds no lock or transaction while the caller has the control: a reader may stop for minutes.
        """
        ...

    def prune(self, before: float, timeout_s: float) -> int:
        """Delete the closed rows older than *before*; return their number. Counters keep their sums."""
        ...

    def close(self) -> None:
        """Close files and connections. A later use opens them again, also to settle the rows that are still open."""
        ...


@runtime_checkable
class AsyncLedgerProvider(Protocol):
    """The methods of `LedgerProvider` that a call waits for, asynchronously.

    A cancelled task must not leave a change behind that no caller knows: each method runs to its end even if its task is
    cancelled meanwhile, as `llmcore.support.completion.complete` does.
    """

    async def areserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        """See `LedgerProvider.reserve`."""
        ...

    async def asettle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.settle`."""
        ...


@runtime_checkable
class LedgerKeys(Protocol):
    """Keep the API keys of a gateway's clients."""

    def read_keys(self, timeout_s: float) -> Sequence[ApiKey]:
        """Return all keys, also revoked and expired ones."""
        ...

    def insert_key(self, key: ApiKey, timeout_s: float) -> bool:
        """Store *key*; return False if its name has a key that is valid at `key.created_at`.

        It replaces a revoked or expired key of the same name.
        """
        ...

    def revoke_key(self, name: str, at: float, timeout_s: float) -> None:
        """Set `revoked_at` of the key, unless it is revoked already."""
        ...

    def take_request(self, key_id: str, interval_s: float, burst_s: float, timeout_s: float) -> float:
        """Take one request from the token bucket of the key (GCRA); return the seconds to wait if it is empty, else 0.

        One request is added every *interval_s*; the bucket holds those of *burst_s*.
        """
        ...
