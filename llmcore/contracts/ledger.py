"""The contract of a ledger. A ledger stores a row for each request and sums the rows in budget counters.

A row and its budget counters change in one transaction, so a counter always equals the sum of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from llmcore.support.ledger_rows import LedgerRow, ReportQuery, ReportRow, RowQuery
from llmcore.support.ledger_runs import ItemState
from llmcore.support.ledger_values import (
    ApiKey,
    Counter,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)

__all__ = [
    "AsyncLedgerProvider",
    "LedgerBuffer",
    "LedgerClaims",
    "LedgerImport",
    "LedgerKeys",
    "LedgerProvider",
    "LedgerRuns",
]


@runtime_checkable
class LedgerProvider(Protocol):
    """Store rows and counters, with blocking methods. Several threads may call at the same time.

    Each method takes a timeout in seconds, the maximum wait for locks and connections. Each method raises
    `LedgerUnavailable` if the ledger cannot be used, with `busy=True` if the reason is this timeout. After an error,
    the host may repeat a call with the same `key` or `batch`; a repetition must not change anything twice.

    A provider may also define async variants with the same arguments: `areserve`, `asettle` and so on; see
    `AsyncLedgerProvider`.
    """

    location: str
    """Where the ledger is, for errors: a path, or an address without its password."""

    def prepare(self, timeout_s: float) -> bool:
        """Create or migrate the tables, and settle the rows of dead owners. Return whether the ledger has budgets.

        The host calls this method before the first request. If a later version of llmcore has written the ledger, raise
        `LedgerUnavailable` and change nothing.
        """
        ...

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        """Open a row that reserves the maximum cost, or return the first limit that the maximum would exceed.

        Do the following in one transaction:

        1. Create the missing counters of `request.limits` from the rows of their periods.
        2. Compare the counters with the limits.
        3. Insert the row, and add the maximum to `reserved` of every counter that covers the request. This includes
           counters that only other processes use.

        If an open row with `request.key` exists, return that row and reserve nothing.

        The row belongs to this process: until the row is settled, `recover` must be able to tell whether this process is
        alive. If `request.charge.owner` is set, the row belongs to that owner instead. It then stays open after the end
        of this process, and counts as lost once `llmcore.support.ledger_owners.is_past` returns True. Readers find the
        owner in `LedgerRow.owner`.
        """
        ...

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        """Close rows in one transaction. Return the updated counters.

        In each counter that covers a row, release the reservation and add the cost to `spent`. The period of the
        counter is the one in which the row was opened. A row whose request was not made (`requested` is False) is
        deleted. A closed or missing row changes nothing. If another process has settled the row of this process as
        lost, the real outcome replaces that settlement.
        """
        ...

    def recover(self, timeout_s: float) -> int:
        """Settle the open rows of dead owners, with the state `lost`. Return the number of rows.

        Book each at its maximum cost, because the server may have answered the request. If any process calls this
        method, the rows of a dead owner must be settled within 30 seconds after the owner's end.
        """
        ...

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        """Insert closed rows: cache hits, and requests that were recorded during an outage of the ledger.

        Add the cost of the rows to the counters. Store the name *batch*: a second call with the same name changes nothing.
        Delete the stored names in *forget*, because the host does not repeat these batches. Ignore the `id` of a row.
        """
        ...

    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        """Return the counters of all budgets in the periods that contain *at*, sorted by text. Change nothing.

        If one of *scopes* has no counter, sum the rows that the scope covers in the period that contains *at*.
        """
        ...

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        """Raise `alerted` of the counter to *amount*. Return False if `alerted` is already at least *amount*.

        If several processes try, exactly one of them gets True.
        """
        ...

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        """Return the sums of the rows that match, one row for each group, sorted by `key`."""
        ...

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        """Yield the matching rows in the order of their time.

        Hold no lock or transaction between rows, because the caller may pause for minutes.
        """
        ...

    def prune(self, before: float, timeout_s: float, edges: Sequence[float] = ()) -> int:
        """Replace the closed rows older than *before* by sums, and return the number of rows that were replaced.

        The sums are those of `llmcore.support.ledger_sums`: one row for each period and each combination of SUM_KEYS.
        Each period ends at a midnight in UTC, at *before*, or at one of *edges* (seconds since 1970), such as the
        midnights of a time zone; see `list_edges`. Counters do not change. Existing sums stay as they are.
        """
        ...

    def read_pruned(self, timeout_s: float) -> Sequence[tuple[float, float]]:
        """Return the start and the end of each period that has sums, in ascending order."""
        ...

    def close(self) -> None:
        """Close files and connections. A later use opens them again, for example to settle open rows."""
        ...


@runtime_checkable
class AsyncLedgerProvider(Protocol):
    """The asynchronous variants of the methods of `LedgerProvider` that a call waits for.

    A cancelled task must not leave an unknown change behind: each method completes even if its task is cancelled, as
    `llmcore.support.completion.complete` does.
    """

    async def areserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        """See `LedgerProvider.reserve`."""
        ...

    async def asettle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.settle`."""
        ...


@runtime_checkable
class LedgerBuffer(Protocol):
    """Keep rows in this process for a moment, and write them together."""

    def flush(self, timeout_s: float) -> None:
        """Write the rows. Return the amounts that this process has reserved for future requests to the budgets.

        The host calls this method when Python ends; `close` does the same.
        """
        ...


@runtime_checkable
class LedgerImport(Protocol):
    """Import the counters of another ledger, for `llmcore usage migrate`."""

    def add_counted(self, batch: str, counter: Counter, timeout_s: float) -> bool:
        """Add `counter.spent` to the counter with the same scope and period. Create a missing counter.

        The other ledger has no rows and no sums for this amount, so the host cannot copy them. A second call with the
        same *batch* changes nothing and returns False.
        """
        ...


@runtime_checkable
class LedgerClaims(Protocol):
    """Let one of several processes do something, such as send an alert."""

    def claim(self, name: str, timeout_s: float) -> bool:
        """Return True to the first call with *name*, and False to all later calls by any process."""
        ...


@runtime_checkable
class LedgerKeys(Protocol):
    """Store the API keys of a gateway's clients."""

    def read_keys(self, timeout_s: float) -> Sequence[ApiKey]:
        """Return all keys, including revoked and expired keys."""
        ...

    def insert_key(self, key: ApiKey, timeout_s: float) -> bool:
        """Store *key*. Return False if another key of the same name is valid at `key.created_at`.

        A revoked or expired key of the same name is replaced.
        """
        ...

    def revoke_key(self, name: str, at: float, timeout_s: float) -> None:
        """Set `revoked_at` of the key, unless the key is already revoked."""
        ...

    def take_request(self, key_id: str, interval_s: float, burst_s: float, timeout_s: float) -> float:
        """Take one request from the token bucket (GCRA) of the key. Return the seconds to wait; 0 if none.

        The bucket gains one request every *interval_s* seconds, and holds at most the requests that it gains in
        *burst_s* seconds.
        """
        ...


@runtime_checkable
class LedgerRuns(Protocol):
    """Decide which worker of an engine sends an item of a batch, and store the item's answer until the run has ended.

    An item is a request, and its key is the hash of the request. *claim* is a name under which this process claims
    items. Other processes can take over these items only after this process has ended, just as
    `LedgerProvider.recover` settles the open rows of a process only after its end. Async variants are optional.
    """

    def open_run(self, run: str, timeout_s: float) -> None:
        """Allow claims for *run*. Keep the answers that were stored before the run was interrupted."""
        ...

    def claim_items(
        self, run: str, claim: str, keys: Sequence[bytes], timeout_s: float
    ) -> Sequence[ItemState] | None:
        """Claim the items *keys* in one transaction, and return their states in the same order.

        Return None if the run is not open. The state of an item is one of:

        - "mine": *claim* has the item, perhaps since an earlier call.
        - "busy": another claim of a living process has the item.
        - "done": the item has an answer.
        """
        ...

    def finish_items(
        self, run: str, claim: str, answers: Sequence[tuple[bytes, bytes]], timeout_s: float
    ) -> None:
        """Store the answers of items, unless an answer is stored already or the run was forgotten.

        Store an answer even if the run is closed or *claim* has lost the item, because the answer is paid.
        """
        ...

    def release_items(self, run: str, claim: str, timeout_s: float) -> None:
        """Give up the items of *claim* that have no answer."""
        ...

    def close_run(self, run: str, timeout_s: float) -> None:
        """Refuse further claims, and keep the answers."""
        ...

    def forget_run(self, run: str, timeout_s: float) -> None:
        """Refuse further claims, and delete the answers."""
        ...
