"""Compare all rows of a period with the bill, day by day and model by model."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Final, NamedTuple

import msgspec

from llmcore.ledger.reconciliation.booked_requests import BookedRequests
from llmcore.ledger.reconciliation.causes import CAUSES, EXPLAINED, Causes, explain
from llmcore.ledger.reconciliation.midnight import move_shifted
from llmcore.ledger.reconciliation.prices import BilledPrice, PriceSums
from llmcore.support.bills import PRECISION, STANDARD, Bill, BillLine, BillUsage, normalise_tier
from llmcore.support.ledger_rows import LedgerRow, RowQuery

__all__ = ["Cause", "KeyTotal", "Reconciliation", "Row", "iterate_period", "reconcile"]

_SETTLED_S: Final = 24 * 3600
"""The seconds after the end of a day during which the vendor may still add to the report of the day."""
_LONGEST_S: Final = 24 * 3600
"""The maximum duration of a request in seconds. A request of a batch takes up to a day."""
_DATED: Final = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
"""The date at the end of the name of a snapshot, such as "gpt-6-2026-08-01"."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One cause of the difference."""

    name: str
    """A name of `CAUSES`."""
    text: str
    amount: Decimal
    """USD: billed minus booked."""
    requests: int | None = None
    """The number of requests in the ledger to which the cause applies; None if unknown."""
    parts: Mapping[str, Decimal] = {}
    """The parts of the amount: by day for `late`, by key for `other_keys`, by line of the bill for `fees`, else by model."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one UTC day."""

    day: date
    model: str
    """Empty for lines of the bill that are not about tokens of a model."""
    tier: str
    requests: int
    """The number of requests in the ledger, including those with an unknown outcome."""
    booked: Decimal
    """USD in the ledger, including `uncertain`."""
    uncertain: Decimal
    """The maximum cost in USD of requests with an unknown outcome."""
    billed: Decimal
    causes: Mapping[str, Decimal]


class KeyTotal(NamedTuple):
    """The amount that the vendor billed to one API key."""

    key: str | None
    """The id of the API key; see `BillUsage.key`."""
    group: str | None
    """The id of the project or workspace; None if the bill names none."""
    own: bool
    """See `BillUsage.own`."""
    billed: Decimal
    """USD."""


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of a ledger with a bill."""

    since: date
    """The first UTC day."""
    until: date
    """The day after the last day."""
    incomplete: Sequence[date]
    """The days whose report the vendor may still change."""
    booked: Decimal
    """USD in the ledger, including `uncertain`."""
    uncertain: Decimal
    """The maximum cost in USD of requests with an unknown outcome."""
    billed: Decimal
    """USD on the bill."""
    causes: Sequence[Cause]
    """The reasons for the difference, with the amount of each."""
    rows: Sequence[Row]
    """The comparison for each model, tier and day."""
    keys: Sequence[KeyTotal]
    """The billed amount of each API key."""
    prices: Sequence[BilledPrice]
    """The billed prices of the models whose difference has the cause `price`, for the standard tier."""

    @property
    def difference(self) -> Decimal:
        """USD: the billed amount minus the booked amount."""
        return self.billed - self.booked

    @property
    def unexplained(self) -> Decimal:
        """The sum in USD of the absolute amounts of the causes that do not explain a difference; see `EXPLAINED`."""
        return sum((abs(cause.amount) for cause in self.causes if cause.name not in EXPLAINED), Decimal(0))


class _Cell:
    """The ledger's requests and the bill's lines for one model, tier and day."""

    def __init__(self) -> None:
        self.booked = BookedRequests()
        self.lines: list[BillLine] = []
        self.usage: list[BillUsage] = []

    def merge(self, other: _Cell) -> None:
        self.booked.merge(other.booked)
        self.lines += other.lines
        self.usage += other.usage


_Cells = dict[tuple[date, str, str], _Cell]
"""Day, model, tier -> cell."""


def reconcile(
    rows: Iterable[LedgerRow], bill: Bill, *, since: date, until: date, read_at: float
) -> Reconciliation:
    """Compare *rows* with *bill*, for the UTC days from *since* up to, but not including, *until*.

    A request belongs to the day on which it ended, or on which it was sent to a vendor's queue. Rows of other days, and hits,
    are ignored.

    Args:
        rows: The rows of the vendor's providers.
        bill: The bill of the same period.
        since: The first UTC day.
        until: The day after the last UTC day.
        read_at: The time at which the bill was read, in seconds since 1970. Days that ended less than 24 hours before may
            be incomplete.
    """
    with localcontext() as context:
        context.prec = PRECISION
        cells, before = _collect(rows, bill, since, until)
        causes = {
            key: explain(cell.booked, cell.lines, cell.usage, is_complete=_is_complete(key[0], read_at))
            for key, cell in sorted(cells.items())
        }
        move_shifted({key: cell.booked for key, cell in cells.items()}, causes, before)
        found = [_make_row(key, cells[key], each) for key, each in causes.items()]
        days = [since + timedelta(days=number) for number in range((until - since).days)]
        return Reconciliation(
            since=since,
            until=until,
            incomplete=[day for day in days if not _is_complete(day, read_at)],
            booked=sum((row.booked for row in found), Decimal(0)),
            uncertain=sum((row.uncertain for row in found), Decimal(0)),
            billed=sum((row.billed for row in found), Decimal(0)),
            causes=_sum_causes(found, cells),
            rows=found,
            keys=_sum_keys(cells.values()),
            prices=_find_prices(
                {key: cell for key, cell in cells.items() if _is_complete(key[0], read_at)}, causes
            ),
        )


def iterate_period(
    read: Callable[[RowQuery], Iterator[LedgerRow]], providers: Iterable[str], since: date, until: date
) -> Iterator[LedgerRow]:
    """Yield the rows of *providers* for requests that may have ended in the period. *read* queries the ledger."""
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() for day in (since, until))
    for provider in providers:
        yield from read(RowQuery(since=start - _LONGEST_S, until=end, filters={"provider": provider}))


def _collect(
    rows: Iterable[LedgerRow], bill: Bill, since: date, until: date
) -> tuple[_Cells, dict[tuple[date, str, str], BookedRequests]]:
    """Return the cells of the period, and the requests of the day before the period."""
    cells: defaultdict[tuple[date, str, str], _Cell] = defaultdict(_Cell)
    names: set[str] = set()
    for line in bill.lines:
        if since <= line.day < until:
            cells[line.day, line.model or "", line.tier].lines.append(line)
            names |= {line.model} if line.model else set()
    for row in bill.usage:
        if since <= row.day < until:
            cells[row.day, row.model, row.tier].usage.append(row)
            names.add(row.model)
    before: dict[tuple[date, str, str], BookedRequests] = {}
    for key, booked in _sum_rows(rows, names, since - timedelta(days=1), until).items():
        if key[0] < since:
            before[key] = booked
        else:
            cells[key].booked.merge(booked)
    return _merge_tiers(cells), before


def _sum_rows(
    rows: Iterable[LedgerRow], names: set[str], since: date, until: date
) -> dict[tuple[date, str, str], BookedRequests]:
    """Sum the rows by day, model and tier.

    A server may answer with another model than the requested one. A request without an answer counts for the model that
    answered most requests for the same name.
    """
    sums: defaultdict[tuple[date, str, str | None, str], BookedRequests] = defaultdict(BookedRequests)
    served: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.state == "hit":
            continue
        day = datetime.fromtimestamp(row.at + (row.latency_ms or 0) / 1000, UTC).date()
        if since <= day < until:
            sums[day, row.model, row.served, normalise_tier(row.tier or row.tier_asked)].add(row)
            if row.served:
                served[row.model][row.served] += 1
    usual = {model: counts.most_common(1)[0][0] for model, counts in served.items()}
    found: defaultdict[tuple[date, str, str], BookedRequests] = defaultdict(BookedRequests)
    for (day, model, answered, tier), booked in sums.items():
        name = _find_name(answered or usual.get(model, model), names)
        found[day, name, tier].merge(booked)
    return found


def _find_name(name: str, names: set[str]) -> str:
    """Return the vendor's name for the model *name*. The two names may differ by the date of a snapshot."""
    if name in names:
        return name
    plain = _DATED.sub("", name)
    return next((each for each in sorted(names, reverse=True) if _DATED.sub("", each) == plain), name)


def _merge_tiers(cells: _Cells) -> _Cells:
    """Merge the tiers of a model and day if the lines of the bill do not have the same tiers as the usage report."""
    tiers: defaultdict[tuple[date, str], dict[str, _Cell]] = defaultdict(dict)
    for (day, model, tier), cell in cells.items():
        tiers[day, model][tier] = cell
    merged: _Cells = {}
    for (day, model), found in tiers.items():
        costs = {tier for tier, cell in found.items() if any(line.kind for line in cell.lines)}
        counts = {tier for tier, cell in found.items() if cell.usage}
        if costs and counts and costs != counts:
            whole = merged[day, model, STANDARD] = _Cell()
            for cell in found.values():
                whole.merge(cell)
        else:
            merged |= {(day, model, tier): cell for tier, cell in found.items()}
    return merged


def _is_complete(day: date, read_at: float) -> bool:
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return end.timestamp() + _SETTLED_S <= read_at


def _make_row(key: tuple[date, str, str], cell: _Cell, causes: Causes) -> Row:
    day, model, tier = key
    booked = cell.booked
    return Row(
        day=day,
        model=model,
        tier=tier,
        requests=booked.answered + booked.cancelled.requests + booked.lost.requests + booked.open.requests,
        booked=booked.cost + booked.uncertain,
        uncertain=booked.uncertain,
        billed=sum((line.amount for line in cell.lines), Decimal(0)),
        causes={name: causes[name] for name in CAUSES if causes[name]},
    )


def _sum_causes(rows: Sequence[Row], cells: _Cells) -> list[Cause]:
    totals: Causes = defaultdict(Decimal)
    parts: defaultdict[str, Causes] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        for name, amount in row.causes.items():
            totals[name] += amount
            parts[name][str(row.day) if name == "late" else row.model] += amount
    for name in ("other_keys", "fees"):
        parts.pop(name, None)
    for line in (line for cell in cells.values() for line in cell.lines):
        if not line.own:
            parts["other_keys"][line.key or "(no key)"] += line.amount
        elif line.kind is None:
            parts["fees"][line.label or "(no name)"] += line.amount
    counts = _count_requests(cells.values())
    return [
        Cause(
            name=name,
            text=CAUSES[name],
            amount=totals[name],
            requests=counts.get(name),
            parts={part: amount for part, amount in parts[name].items() if amount},
        )
        for name in CAUSES
        if totals[name] or any(parts[name].values())
    ]


def _find_prices(cells: _Cells, causes: Mapping[tuple[date, str, str], Causes]) -> list[BilledPrice]:
    """Return the billed prices of the standard tier that differ from the ledger's. [prices] contains only this tier."""
    sums: defaultdict[str, PriceSums] = defaultdict(PriceSums)
    for key, cell in cells.items():
        _, model, tier = key
        if (amount := causes[key]["price"]) and tier == STANDARD:
            sums[model].add(cell.booked, amount, cell.lines, cell.usage)
    return [each.make_price(model) for model, each in sums.items()]


def _count_requests(cells: Iterable[_Cell]) -> dict[str, int]:
    """Return the number of requests of each cause. Causes with an unknown number are left out."""
    counts: Counter[str] = Counter()
    foreign: Counter[bool] = Counter()
    for cell in cells:
        booked = cell.booked
        counts["cancelled"] += booked.cancelled.requests
        counts["lost"] += booked.lost.requests
        counts["open"] += booked.open.requests
        counts["unpriced"] += booked.unpriced_requests
        for row in cell.usage:
            if not row.own:
                foreign[row.requests is None] += row.requests or 1
    if not foreign[True]:
        counts["other_keys"] = foreign[False]
    return dict(counts)


def _sum_keys(cells: Iterable[_Cell]) -> list[KeyTotal]:
    totals: defaultdict[tuple[str | None, str | None, bool], Decimal] = defaultdict(Decimal)
    for cell in cells:
        for line in cell.lines:
            totals[line.key, line.group, line.own] += line.amount
    found = [KeyTotal(*key, amount) for key, amount in totals.items()]
    return sorted(found, key=lambda total: (-total.billed, total.key or ""))
