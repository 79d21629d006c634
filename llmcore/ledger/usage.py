"""`core.usage`: the totals of this Core, and reports from the ledger of all processes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from llmcore import forks
from llmcore.calls.argument_names import check_argument_names
from llmcore.errors import LedgerError
from llmcore.ledger.meter import Meter, Totals
from llmcore.process_bound import ProcessBound
from llmcore.support.errors import raise_unchained
from llmcore.threads import run_in_thread
from llmcore.units import Duration

if TYPE_CHECKING:
    from llmcore.ledger.api_keys import ApiKeys
    from llmcore.ledger.report import BudgetState, UsageRow
    from llmcore.ledger.spending import Spending

__all__ = ["UsageBook", "UsageGroup", "When"]

T = TypeVar("T")

UsageGroup = Literal["total", "day", "month", "model", "provider", "kind", "user", "tag", "error"]
When = str | float | datetime | date | timedelta | None
"""A time: "2026-11-25", ISO 8601, seconds since 1970, or a duration before now such as "7d".

The result is None for no bound.
"""


class UsageBook(ProcessBound):
    """The totals of this Core (in memory), and reports from the ledger (shared by all processes)."""

    def __init__(self, meter: Meter, opener: Callable[[], Spending]) -> None:
        self.meter = meter
        self._opener = opener

    def totals(self) -> Totals:
        """Return the sums of this Core's calls since its creation, or since `reset`."""
        return self.meter.totals()

    def reset(self) -> None:
        """Set the totals to zero. The ledger keeps its rows."""
        self.meter.reset()

    @check_argument_names
    def by(self, group: UsageGroup, *, since: When = None, until: When = None) -> list[UsageRow]:
        """Return the rows of the ledger, summed by *group*: total, day, month, model, provider, kind, user, tag or error.

        Raises:
            LedgerError: The group is unknown, a time is malformed, or the ledger cannot be read.
        """
        from llmcore.ledger.report import GROUPS, aggregate

        if group not in GROUPS:
            # imported only for an error, because the import takes longer than a cached answer
            from difflib import get_close_matches

            nearest = get_close_matches(group, GROUPS, 1)
            raise LedgerError(
                f"unknown group `{group}`",
                where="argument `group`",
                expected=", ".join(GROUPS),
                suggestion=nearest[0] if nearest else None,
                fix=f'usage.by("{nearest[0]}")' if nearest else None,
            )
        return self._read(
            lambda db: aggregate(db, group, _to_timestamp(since, 0.0), _to_timestamp(until, math.inf))
        )

    @check_argument_names
    async def aby(self, group: UsageGroup, *, since: When = None, until: When = None) -> list[UsageRow]:
        """See `by`."""
        return await run_in_thread(partial(self.by, group, since=since, until=until))

    def budgets(self) -> list[BudgetState]:
        """Return the state of each budget of the ledger in its current period."""
        from llmcore.ledger.report import read_budgets

        spending = self._spending()
        return self._read(lambda db: spending.make_states(read_budgets(db, time.time())), ensure=True)

    async def abudgets(self) -> list[BudgetState]:
        """See `budgets`."""
        return await run_in_thread(self.budgets)

    def open(self) -> list[dict[str, Any]]:
        """Return the rows of requests that are in progress, or whose process died before settling them."""
        from llmcore.ledger.report import export_rows

        where = "AND state IN ('open', 'lost')"
        return self._read(lambda db: list(export_rows(db, 0.0, math.inf, where=where)))

    @check_argument_names
    def export(self, *, since: When = None, until: When = None) -> Generator[dict[str, Any], None, None]:
        """Yield every row of the ledger, oldest first."""
        from llmcore.ledger.report import export_rows

        start, end = _to_timestamp(since, 0.0), _to_timestamp(until, math.inf)
        reader = self._run(self._open_reader)
        try:
            rows = export_rows(reader, start, end)
            while (row := self._run(lambda: next(rows, None))) is not None:
                yield row
        finally:
            reader.close()

    @check_argument_names
    def prune(self, before: str | float | datetime | date | timedelta) -> int:
        """Delete the settled rows older than *before*, such as "90d"; return their number.

        Budgets keep their sums.
        """
        from llmcore.ledger.report import prune_rows

        moment = _to_timestamp(before, None)
        deleted: int = self._run(lambda: self._spending().transact(lambda db: prune_rows(db, moment)))
        return deleted

    def keys(self) -> ApiKeys:
        """Return the API keys that the ledger stores; see `Core.keys`."""
        from llmcore.ledger.api_keys import ApiKeys

        return ApiKeys(self._spending, self._run)

    def _read(self, query: Callable[[Any], T], *, ensure: bool = False) -> T:
        def run_query() -> T:
            reader = self._open_reader(ensure=ensure)
            try:
                return query(reader)
            finally:
                reader.close()

        return self._run(run_query)

    def _open_reader(self, *, ensure: bool = False) -> Any:
        spending = self._spending()
        spending.refresh(ensure=ensure)
        return spending.database.open_reader()

    def _run(self, act: Callable[[], T]) -> T:
        from llmcore.ledger.spending import FAULTS

        try:
            with forks.delay():  # a forked child would find SQLite's internal locks held
                return act()
        except FAULTS as error:
            reason = f"{type(error).__name__}: {error}"
            raise_unchained(
                LedgerError(f"the ledger cannot be read: {reason}", where=str(self._spending().database.path))
            )

    def _spending(self) -> Spending:
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


def _to_timestamp(when: When, otherwise: Any) -> Any:
    """Return seconds since 1970."""
    match when:
        case None:
            return otherwise
        case timedelta():
            moment = time.time() - when.total_seconds()
        case datetime():
            moment = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        case date():
            moment = datetime(when.year, when.month, when.day, tzinfo=UTC).timestamp()
        case str():
            moment = _parse_moment(when)
        case _:
            moment = float(when)
    return moment


def _parse_moment(when: str) -> float:
    with contextlib.suppress(ValueError):
        return float(_to_timestamp(datetime.fromisoformat(when), None))
    with contextlib.suppress(ValueError):
        return time.time() - Duration.parse(when)
    raise LedgerError(
        f"a time must be a date, ISO 8601 or a duration before now, got {when!r}",
        expected='a date such as "2026-11-25", or a duration such as "7d"',
    )
