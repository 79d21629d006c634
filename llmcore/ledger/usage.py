"""`core.usage`: the totals of this Core, and reports from the ledger of all processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from llmcore import forks
from llmcore.calls.argument_names import check_argument_names
from llmcore.errors import LedgerError, LedgerUnavailable, LLMCoreError
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.ledger.meter import Meter, Totals
from llmcore.ledger.operations import Operations, make_unavailable
from llmcore.process_bound import ProcessBound
from llmcore.threads import run_in_thread

if TYPE_CHECKING:
    from llmcore.contracts import LedgerProvider
    from llmcore.ledger.alert_delivery import Delivery
    from llmcore.ledger.alerts import ConfiguredAlert
    from llmcore.ledger.api_keys import ApiKeys
    from llmcore.ledger.migration import Migrated
    from llmcore.ledger.query import UsageQuery
    from llmcore.ledger.reconciliation import Reconciliation
    from llmcore.ledger.report import BudgetState, UsageRow
    from llmcore.ledger.spending import Spending
    from llmcore.ledger.zones import ReportZone
    from llmcore.support.bills import Bill
    from llmcore.support.ledger_rows import LedgerRow, RowQuery

__all__ = ["UsageBook", "UsageGroup", "When", "Zone"]

T = TypeVar("T")

_REQUESTS: Final = ("open", "done", "failed", "lost")
"""The states of rows that are not hits."""

UsageGroup = Literal[
    "total", "hour", "day", "week", "month", "model", "provider", "kind", "user", "key", "tag", "error"
]
"""A dimension of a report. `key` is the API key of a gateway's client."""
When = str | float | datetime | date | timedelta | None
"""A time: "2026-11-25", ISO 8601, seconds since 1970, or a duration before now such as "7d"; None for no bound.

Dates and times without an offset are in the zone of the report.
"""
Zone = str | tzinfo | None
"""A time zone: a name such as "Europe/Berlin", "UTC", or None for the zone of this machine."""


class UsageBook(ProcessBound):
    """The totals of this Core (in memory), and reports from the ledger (shared by all processes)."""

    def __init__(self, meter: Meter, opener: Callable[[], Spending]) -> None:
        self.meter = meter
        self._opener = opener

    def totals(self) -> Totals:
        """Return the sums of this Core's calls since its creation, or since `reset`."""
        return self.meter.get_totals()

    def reset(self) -> None:
        """Set the totals to zero. The rows of the ledger stay."""
        self.meter.reset()

    @check_argument_names
    def by(
        self,
        group: UsageGroup | Sequence[UsageGroup],
        *,
        since: When = None,
        until: When = None,
        zone: Zone = None,
        kind: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        user: str | None = None,
        key: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        percentiles: bool = False,
    ) -> list[UsageRow]:
        """Return the rows of the ledger, summed by one or several dimensions.

        Args:
            group: One of total, hour, day, week, month, model, provider, kind, user, key, tag and error, or several:
                `("day", "model")`. The `key` of each row has the values of these dimensions. A call with two tags counts
                for both tags.
            since: The start of the period.
            until: The end of the period, exclusive.
            zone: The time zone of hours, days, weeks, months and of times without an offset. Budgets are in UTC.
            kind: Only calls of this kind: llm, voice, embedding.
            provider: Only calls to this provider.
            model: Only calls to this model, with or without its provider.
            user: Only calls of this user; empty text for calls without a user.
            key: Only calls with the API key of this name.
            tag: Only calls with this tag; empty text for calls without tags.
            error: Only failed requests with this error, named as in the rows of `by("error")`.
            percentiles: True computes percentiles of latency and time to first token, which takes longer.

        Raises:
            LedgerError: A group or the zone is unknown, a time is malformed, or the ledger cannot be read.
        """
        from llmcore.ledger.report import make_rows

        filters = _collect(kind, provider, model, user, key, tag, error)
        query = _make_query(group, since, until, zone, filters, percentiles=percentiles)
        return make_rows(query, self._aggregate(query))

    @check_argument_names
    async def aby(
        self,
        group: UsageGroup | Sequence[UsageGroup],
        *,
        since: When = None,
        until: When = None,
        zone: Zone = None,
        kind: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        user: str | None = None,
        key: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        percentiles: bool = False,
    ) -> list[UsageRow]:
        """See `by`."""
        filters = _collect(kind, provider, model, user, key, tag, error)
        read = partial(
            self.by, group, since=since, until=until, zone=zone, percentiles=percentiles, **filters
        )
        return await run_in_thread(read)

    def sum(self, rows: Iterable[UsageRow], name: str = "total") -> UsageRow:
        """Return the sum of *rows* as one row, without percentiles.

        Do not add rows of tags: a call with two tags is in two rows.
        """
        from llmcore.ledger.report import sum_rows

        return sum_rows([*rows], name)

    def zone(self, zone: Zone = None) -> ReportZone:
        """Return the zone as a `ReportZone`, which computes when days and months begin.

        Raises:
            LedgerError: The zone is unknown.
        """
        from llmcore.ledger.zones import find_zone

        return find_zone(zone)

    @check_argument_names
    def latest(
        self,
        limit: int = 20,
        *,
        since: When = None,
        until: When = None,
        zone: Zone = None,
        kind: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        user: str | None = None,
        key: str | None = None,
        tag: str | None = None,
        error: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the latest *limit* requests, newest first, in the form of `export`. Cache hits are left out.

        The other arguments and the errors are those of `by`.
        """
        from llmcore.ledger.report import make_record
        from llmcore.support.ledger_sums import SUM_ATTEMPT

        filters = _collect(kind, provider, model, user, key, tag, error)
        query = _make_query("total", since, until, zone, filters)
        rows = query.make_row_query(states=_REQUESTS, newest_first=True, limit=limit)
        # Sums of pruned rows are older than all other rows, so leaving them out only shortens the end of the list.
        return [make_record(row) for row in self._read("iterate_rows", rows) if row.attempt != SUM_ATTEMPT]

    def budgets(self) -> list[BudgetState]:
        """Return the state of each budget of the ledger in its current period."""
        spending = self._open_spending()

        def read() -> list[BudgetState]:
            spending.refresh()
            return spending.read_states()

        return self._run(read)

    async def abudgets(self) -> list[BudgetState]:
        """See `budgets`."""
        return await run_in_thread(self.budgets)

    def alerts(self) -> list[ConfiguredAlert]:
        """Return the budgets with alerts, each with its receivers."""
        return self._open_spending().alerts.list_configured()

    def test_alerts(self) -> list[Delivery]:
        """Send a test alert to the observers and receivers of each budget with alerts, and wait for the results.

        A test does not use up an alert: each real alert is still sent.
        """
        spending = self._open_spending()

        def send() -> list[Delivery]:
            spending.refresh()
            return spending.alerts.send_tests(spending.read_counters())

        return self._run(send)

    def open(self) -> list[dict[str, Any]]:
        """Return the rows of requests that are in progress, or whose process died before settling them."""
        from llmcore.ledger.report import make_record
        from llmcore.support.ledger_sums import SUM_ATTEMPT

        query = _make_query("total", None, None, None, {}).make_row_query(states=("open", "lost"))
        return [make_record(row) for row in self._read("iterate_rows", query) if row.attempt != SUM_ATTEMPT]

    @check_argument_names
    def export(
        self,
        *,
        since: When = None,
        until: When = None,
        zone: Zone = None,
        kind: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        user: str | None = None,
        key: str | None = None,
        tag: str | None = None,
        error: str | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the rows of the ledger, oldest first. The arguments and the errors are those of `by`.

        Rows whose `attempt` is -1 are sums of pruned rows; their `call` is the period.
        """
        from llmcore.ledger.report import make_record

        filters = _collect(kind, provider, model, user, key, tag, error)
        query = _make_query("total", since, until, zone, filters)
        self._run(lambda: self._check(query))
        rows = self._run(lambda: self._iterate(query.make_row_query()))
        while (row := self._run(lambda: next(rows, None))) is not None:
            yield make_record(row)

    def _iterate(self, query: RowQuery) -> Iterator[LedgerRow]:
        spending = self._open_spending()
        spending.refresh()
        rows: Iterator[LedgerRow] = spending.operations.run("iterate_rows", query, LOCK_TIMEOUT_S)
        return rows

    def reconcile(
        self, bill: Bill, providers: Sequence[str], *, since: date, until: date, read_at: float
    ) -> Reconciliation:
        """Compare the rows of *providers* with the *bill* of their vendor.

        The period is the UTC days from *since* up to, but not including, *until*. The bill was read at *read_at*, in
        seconds since 1970. The bill may be incomplete for days that ended less than 24 hours before *read_at*.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        from llmcore.ledger.reconciliation import iterate_period, reconcile

        rows = iterate_period(lambda query: self._run(lambda: self._iterate(query)), providers, since, until)
        return self._run(lambda: reconcile(rows, bill, since=since, until=until, read_at=read_at))

    @check_argument_names
    def prune(self, before: str | float | datetime | date | timedelta, *, zone: Zone = None) -> int:
        """Replace the settled rows older than *before*, such as "90d", by the sums of their days; return the number of rows.

        Reports and budgets keep their figures. Single requests, latencies and the hours of calls are lost. Reports by
        day stay exact in UTC and in *zone*, which is by default the zone of this machine. A report that would divide a
        pruned day fails, such as a report by hour.
        """
        from llmcore.ledger.pruning import prune
        from llmcore.ledger.zones import find_zone

        found = find_zone(zone)
        moment = found.to_timestamp(before) or 0.0

        def replace() -> int:
            spending = self._open_spending()
            spending.refresh()
            return prune(spending.operations, moment, found)

        return self._run(replace)

    def migrate(self, target: LedgerProvider) -> Migrated:
        """Copy the ledger into *target*, such as `core.backend("ledger", "postgres").provider`.

        A second run copies only rows that the first run did not copy.

        Raises:
            LedgerError: Requests are in progress, or one of the ledgers cannot be used.
        """
        from llmcore.ledger.migration import migrate

        spending = self._open_spending()

        def copy() -> Migrated:
            spending.refresh()
            return migrate(spending.operations, Operations(lambda: target))

        return self._run(copy)

    def keys(self) -> ApiKeys:
        """Return the API keys that the ledger stores; see `Core.keys`."""
        from llmcore.ledger.api_keys import ApiKeys

        return ApiKeys(self._open_spending, self._run)

    def _aggregate(self, query: UsageQuery) -> list[Any]:
        self._run(lambda: self._check(query))
        return self._read("aggregate", query.make_report_query())

    def _check(self, query: UsageQuery) -> None:
        """Raise LedgerError if *query* divides a pruned day."""
        from llmcore.ledger.pruning import check_answerable

        check_answerable(query, self._open_spending().operations.run("read_pruned", LOCK_TIMEOUT_S))

    def _read(self, operation: str, query: Any) -> list[Any]:
        """Bring the ledger up to date, and return what *operation* reads."""

        def read() -> list[Any]:
            spending = self._open_spending()
            spending.refresh()
            return list(spending.operations.run(operation, query, LOCK_TIMEOUT_S))

        return self._run(read)

    def _run(self, act: Callable[[], T], verb: str = "read") -> T:
        try:
            with forks.delay():  # a forked child would inherit SQLite's internal locks in a locked state
                return act()
        except LedgerUnavailable as error:
            failure = error
        except LLMCoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a ledger of a plugin may raise anything
            failure = make_unavailable(error)
        from llmcore.ledger.refusals import make_unusable_error

        spending = self._open_spending()
        raise make_unusable_error(failure.message, spending.location, spending.settings, verb)

    def _open_spending(self) -> Spending:
        spending = self._opener()
        if spending.lacks_home:
            raise LedgerError(
                "there is no ledger: the user has no home directory to store it in",
                where="[ledger] path",
                expected="a path, or HOME or XDG_STATE_HOME as an absolute path",
                fix=spending.settings.make_fix("path", "/var/lib/llmcore/ledger.sqlite3"),
            )
        if not spending.is_enabled:
            raise LedgerError(
                "the ledger is disabled",
                where="[ledger] enabled",
                expected="enabled = true, which is the default",
                fix=spending.settings.make_fix("enabled", "true"),
            )
        return spending


def _collect(*values: str | None) -> dict[str, str | None]:
    """Return the filter arguments of `UsageBook.by` as a dictionary: name -> value."""
    names = ("kind", "provider", "model", "user", "key", "tag", "error")
    return dict(zip(names, values, strict=True))


def _make_query(
    group: UsageGroup | Sequence[UsageGroup],
    since: When,
    until: When,
    zone: Zone,
    filters: Mapping[str, str | None],
    *,
    percentiles: bool = False,
) -> UsageQuery:
    from llmcore.ledger.query import make_query
    from llmcore.ledger.zones import find_zone

    found = find_zone(zone)
    bounds = found.to_timestamp(since), found.to_timestamp(until)
    return make_query(group, *bounds, found, filters, percentiles=percentiles)
