"""Budget leases: reserve from a block of a hot budget without the server, and report the rows regularly.

A thread reports while this process has leases. Near a limit, the process gives its blocks back, and its requests use
the statements of `provider.py` again. So no budget is exceeded, and no money stays unused in blocks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from llmcore.errors import ConfigError, LedgerUnavailable, LLMCoreError
from llmcore.support import forks
from llmcore.support.ledger_values import Amount, Counter, Reserved, ReserveRequest, Scope, Settlement
from llmcore.support.money import to_nano
from llmcore.support.threads import start_thread
from llmcore_ledger_postgres import encoding
from llmcore_ledger_postgres.lease import ClosedRow, Group, Lease, Row, find_group_key
from llmcore_ledger_postgres.owner import Owner

__all__ = ["Leases"]

_log: Final = logging.getLogger("llmcore.ledger_postgres")
_TIMEOUT_S: Final = 10.0
_GROUPS: Final = 1000
"""The maximum number of groups to remember."""
_PENDING: Final = 500
"""If a lease has at least this many rows to report, it reports them before the interval ends."""
_VALID_PART: Final = 0.8
"""A lease is used for this fraction of `silence` after a report. Other processes settle it after `silence`."""
_MIDNIGHT_S: Final = 0.1
"""For this many seconds before midnight (UTC, on the server's clock), a lease is not used."""
_DAY_S: Final = 86400

if hasattr(time, "CLOCK_BOOTTIME"):

    def _now() -> float:
        """Return monotonic seconds, including the time for which the machine was suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    _now = time.monotonic


class _Sync(Protocol):
    """Sends a report in one statement, which is safe to repeat. Returns the answer of the function `sync_leases`."""

    def __call__(self, number: int, items: list[dict[str, Any]], timeout_s: float, /) -> dict[str, Any]:
        """Send report *number* with *items*, one for each lease."""
        ...


class _Part(NamedTuple):
    """The report of one lease."""

    lease: Lease
    free: Amount
    is_closing: bool
    rows: dict[str, Row]
    closed: list[ClosedRow]
    settlements: list[dict[str, Any]]
    item: dict[str, Any]


class Leases:
    """The leases of this process.

    Args:
        sync: Sends a report.
        owner: Remembers the rows that the server has stored, in case a failover loses them.
        interval_s: The interval of the reports, at most a quarter of *silence_s*.
        silence_s: The seconds without a report after which other processes settle the leases of a process.
    """

    def __init__(self, sync: _Sync, owner: Owner, interval_s: float, silence_s: float) -> None:
        if interval_s > silence_s / 4:
            raise ConfigError(
                f"`lease` in [ledger.postgres] must be at most a quarter of `silence` ({silence_s:g} s), got {interval_s:g} s",
                where="[ledger.postgres] lease",
                expected="1s",
            )
        self._sync = sync
        self._owner = owner
        self._interval_s = interval_s
        self._silence_s = silence_s
        self._lock = forks.lock()
        self._reset()
        forks.watch(self)

    def _reset(self) -> None:
        self._groups: dict[Hashable, Group] = {}
        self._leases: list[Lease] = []
        self._rows: dict[str, Row] = {}
        self._doubtful: dict[str, None] = {}
        self._number = 0
        # The lower and the upper bound of the server's time minus `_now()`.
        self._clock_low, self._clock_high = 0.0, 0.0
        self._reporting = threading.Lock()
        self._wake = threading.Event()
        self._is_running = False

    # -- requests

    def reserve(self, request: ReserveRequest) -> Reserved | None:
        """Reserve from a lease. Return None if the request must be reserved on the server."""
        if request.charge.owner is not None or not request.limits:
            return None
        now, key = _now(), find_group_key(request)
        with self._lock:
            row = self._rows.get(request.key)
            if row is None and (request.key in self._owner.open or request.key in self._doubtful):
                return None  # the server may have opened the row at an earlier attempt
            if row is None:
                group = self._groups.get(key) or self._add_group(key, request)
                lease = group.lease
                if lease is not None:
                    row = lease.take(request, now, self._read_clock)
                    if lease.is_low(now, self._interval_s):
                        self._wake.set()
                if row is None:
                    if group.note(request.amount, now, self._interval_s) and lease is None:
                        self._begin_lease(group, now)
                    return None
                self._rows[request.key] = row
            counters = row.lease.counters
            return Reserved(encoding.get_day(row.at), row.at, counters)

    def yield_blocks(self, scope: Scope) -> bool:
        """Make the next report give back all blocks of the budget *scope*. Return whether there are any."""
        found = False
        with self._lock:
            for lease in self._leases:
                if lease.is_current and lease.at is not None and scope.covers(lease.group.charge):
                    lease.is_open, lease.is_closing = False, True
                    lease.group.pause(_now(), self._interval_s)
                    found = True
        return found

    @contextlib.contextmanager
    def note_failure(self, request: ReserveRequest) -> Iterator[None]:
        """If the `with` block fails, always reserve *request* on the server: its row may exist there."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._doubtful[request.key] = None
                while len(self._doubtful) > _GROUPS:
                    del self._doubtful[next(iter(self._doubtful))]
            raise

    def settle(self, settlements: Sequence[Settlement]) -> tuple[list[Settlement], list[Counter]]:
        """Settle the requests of leases. Return the other settlements, and the counters of the last report."""
        others: list[Settlement] = []
        counters: list[Counter] = []
        for settlement in settlements:
            with self._lock:
                row = self._rows.get(settlement.request.key)
                if row is None:
                    others.append(settlement)
                    continue
                self._settle(row, settlement)
                counters += row.lease.fresh
                row.lease.fresh = ()
                if len(row.lease.closed) + len(row.lease.settlements) >= _PENDING:
                    self._wake.set()
        return others, counters

    def _settle(self, row: Row, settlement: Settlement) -> None:
        lease, outcome = row.lease, settlement.outcome
        item = encoding.encode_settlement(settlement)
        # Encode now: if a row cannot be encoded, its caller must fail, not the report of many rows.
        if row.is_sent:
            item["row"] = encoding.get_day(row.at)
            encoding.encode(item)
            lease.settlements.append(item)
        elif not outcome.requested:
            lease.give_back(row, Amount())
        else:
            closed = encoding.make_closed_row(self._encode_open(row), item)
            lease.closed.append(ClosedRow(msgspec.Raw(encoding.encode(closed)), row))
            cost = 0 if outcome.cost is None else to_nano(outcome.cost)
            lease.give_back(row, Amount(cost, outcome.characters))
        lease.in_flight -= 1
        del self._rows[settlement.request.key]

    def _encode_open(self, row: Row) -> dict[str, Any]:
        return self._owner.encode_open(row.opened)

    def _add_group(self, key: Hashable, request: ReserveRequest) -> Group:
        if len(self._groups) >= _GROUPS:
            self._groups = {key: group for key, group in self._groups.items() if group.lease is not None}
        group = self._groups[key] = Group(request)
        return group

    def _begin_lease(self, group: Group, now: float) -> None:
        lease = group.lease = Lease(group, now)
        self._leases.append(lease)
        self._wake.set()
        if not self._is_running:
            thread = threading.Thread(target=self._run, name="llmcore-ledger-lease", daemon=True)
            self._is_running = start_thread(thread)
            if not self._is_running:
                group.lease = None
                self._leases.remove(lease)

    def _read_clock(self) -> float:
        """Return a lower bound of the server's time, in seconds since 1970."""
        return _now() + self._clock_low

    # -- reports

    def _run(self) -> None:
        """Send reports until this process has no lease."""
        while True:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            try:
                self.report(_TIMEOUT_S)
            except Exception as error:  # noqa: BLE001 - the next report sends the rows again
                if not isinstance(error, LLMCoreError):
                    _log.warning("a report of leases failed, and is tried again", exc_info=True)
                time.sleep(self._interval_s)
            with self._lock:
                if not self._leases:
                    self._is_running = False
                    return

    def report(self, timeout_s: float, *, gives_back: bool = False) -> None:
        """Write all rows to the server. Refill the blocks, or give all blocks back if *gives_back* is true.

        Raises:
            LedgerUnavailable: The server cannot be reached. The rows stay in memory for the next report.
        """
        deadline = time.monotonic() + timeout_s
        if not self._leases:
            return
        if not self._reporting.acquire(timeout=max(0.0, timeout_s)):
            raise LedgerUnavailable("another report of leases did not end in time", busy=True)
        try:
            while True:
                with self._lock:
                    self._leases = [lease for lease in self._leases if not lease.is_finished]
                    parts = [
                        self._collect(lease, gives_back=gives_back)
                        for lease in self._leases
                        if lease.has_report
                    ]
                if parts:
                    self._send(parts, max(0.0, deadline - time.monotonic()))
                with self._lock:
                    self._leases = [lease for lease in self._leases if not lease.is_finished]
                    if not any(lease.is_closing for lease in self._leases):
                        return
        finally:
            self._reporting.release()

    def _collect(self, lease: Lease, *, gives_back: bool) -> _Part:
        now, group = _now(), lease.group
        if lease.is_current and (
            gives_back or now >= lease.valid_until > 0 or lease.is_idle(now, self._interval_s)
        ):
            lease.is_closing = True
        if lease.is_closing:
            lease.is_open = False
        more = lease.find_addition(now, self._interval_s)
        free = lease.report(now)
        rows = dict(lease.unsent)
        closed, settlements = lease.closed.copy(), lease.settlements.copy()
        charge = group.charge
        item = {
            "key": lease.key if lease.is_current else None,
            "is_new": lease.at is None,
            "closing": lease.is_closing,
            "at": lease.at,
            "provider": charge.provider,
            "model": charge.model,
            "user": charge.user,
            "tags": charge.tags,
            "limits": encoding.encode_limits(group.limits),
            "free": free,
            "more": more,
            "least": lease.least,
            "rows": [*(row.json for row in closed), *map(self._encode_open, rows.values())],
            "settlements": settlements,
        }
        return _Part(lease, free, lease.is_closing, rows, closed, settlements, item)

    def _send(self, parts: Sequence[_Part], timeout_s: float) -> None:
        number = self._number = self._number + 1
        sent_at = _now()
        try:
            answer = self._sync(number, [part.item for part in parts], timeout_s)
        except BaseException as error:
            if isinstance(error, LedgerUnavailable) and not error.busy:
                self._send_one_by_one(parts, timeout_s)
            raise
        with self._lock:
            self._clock_low, self._clock_high = answer["at"] - _now(), answer["at"] - sent_at
            for part, found in zip(parts, answer["items"], strict=True):
                self._take_over(part, found, number)
                is_ours = answer["timeline"] == self._owner.timeline  # otherwise the server was replaced
                if found["state"] == "open" and not part.is_closing and is_ours:
                    midnight = (found["at"] // _DAY_S + 1) * _DAY_S - self._clock_high - _MIDNIGHT_S
                    part.lease.valid_until = min(sent_at + _VALID_PART * self._silence_s, midnight)
                    part.lease.is_open = True

    def _send_one_by_one(self, parts: Sequence[_Part], timeout_s: float) -> None:
        """Send each row and settlement of a refused report. If one is refused, its row stays open at its maximum."""
        with contextlib.suppress(LedgerUnavailable):  # an outage: a later report sends the rows
            self._sync(self._number, [], timeout_s)
            for part in parts:
                lease = part.lease
                for closed in part.closed:
                    if self._send_alone(part, [closed.json], [], timeout_s):
                        self._owner.remember(closed.json)
                    elif self._send_alone(part, [self._encode_open(closed.row)], [], timeout_s):
                        self._owner.add(closed.row.opened)
                    with self._lock:
                        del lease.closed[0]
                for item in part.settlements:
                    key = item["key"]
                    row = part.rows.get(key)
                    is_taken = self._send_alone(
                        part, [self._encode_open(row)] if row else [], [item], timeout_s
                    )
                    with self._lock:
                        del lease.settlements[0]
                        if is_taken:  # otherwise the next report sends the row as open
                            lease.unsent.pop(key, None)
                            if row:
                                self._owner.add(row.opened)
                            self._owner.close_encoded(item)

    def _send_alone(
        self, part: _Part, rows: list[Any], settlements: list[dict[str, Any]], timeout_s: float
    ) -> bool:
        """Send one row, or one settlement with its row. Return False if the server refuses it.

        Raises:
            LedgerUnavailable: The server is busy, or cannot be reached.
        """
        alone = {"key": None, "closing": False, "is_new": False, "rows": rows, "settlements": settlements}
        try:
            self._sync(self._number, [part.item | alone], timeout_s)
        except LedgerUnavailable as error:
            if error.busy:
                raise
            self._sync(self._number, [], timeout_s)
            _log.warning(
                "the server refuses the row of a request, so it stays open at its maximum: %s", error.message
            )
            return False
        return True

    def _take_over(self, part: _Part, found: dict[str, Any], number: int) -> None:
        """Apply the server's answer for one lease."""
        lease, group = part.lease, part.lease.group
        del lease.closed[: len(part.closed)], lease.settlements[: len(part.settlements)]
        for key, row in part.rows.items():
            del lease.unsent[key]
            self._owner.add(row.opened)
        for closed in part.closed:
            self._owner.remember(closed.json)
        for item in part.settlements:
            self._owner.close_encoded(item)
        lease.number, lease.at = number, found["at"]
        lease.counters = lease.fresh = [encoding.decode_counter(each) for each in found["counters"]]
        if not lease.is_current:
            return
        if part.is_closing or (part.item["is_new"] and found["state"] != "open"):
            lease.is_open = lease.is_closing = False
            lease.free = lease.block = Amount()
            group.lease = None
        else:
            lease.change(part.free, Amount(*found["block"]))
        if found["state"] == "near":
            group.pause(_now(), self._interval_s)
        if found["state"] == "open":
            group.resume()
        elif lease.is_current:
            lease.is_open, lease.is_closing = False, True

    def recall(self) -> list[dict[str, Any]]:
        """Return the rows of the leases that the server has granted, as items of the function `restate`."""
        with self._lock:
            return [
                {**lease.make_row(self._owner.name), "day": encoding.get_day(lease.at)}
                for lease in self._leases
                if lease.at is not None and lease.is_current
            ]

    def after_fork(self) -> None:
        """Leave the leases to the parent; see `forks.ForkAware`."""
        self._reset()
