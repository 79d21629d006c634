"""`llmcore usage`: the cost of today and this month by model, user and tag, budgets, and savings of the cache."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.cli.show import Paint, format_cost, get_terminal_width, note, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.cli.usage_tables import (
    draw_sparkline,
    print_budgets,
    print_footnotes,
    print_left_out,
    render_row,
    render_usage,
    to_dict,
)

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.ledger.report import BudgetState, UsageRow
    from llmcore.ledger.zones import ReportZone

__all__ = ["show_overview"]

_DAYS: Final = 30
"""The number of days in the sparkline, if the month is the current one."""
_MOST: Final = 10
"""The maximum number of rows in the table of one dimension."""
_PARTS: Final = ("model", "user", "tag")
"""The dimensions by which the month is divided, one table for each."""


class _Overview(NamedTuple):
    """The figures of one month."""

    zone: ReportZone
    is_current: bool
    first: date
    """The first day of the month."""
    shown_first: date
    """The first and the last day of the sparkline."""
    last: date
    days: Sequence[UsageRow]
    today: UsageRow
    month: UsageRow
    pace: Decimal | None
    """The cost at the end of the month if spending continues as before; None for an earlier month."""
    parts: Mapping[str, Sequence[UsageRow]]
    """Dimension -> its rows."""
    budgets: Sequence[BudgetState]


def show_overview(core: Core, args: argparse.Namespace, filters: Mapping[str, Any]) -> None:
    """Print the usage of the month in *args*. If it is the current month, print today's usage and the budgets too."""
    overview = _read_overview(core, args, filters)
    if args.json:
        _print_json(overview)
        return
    blocks: list[str] = []
    if any(row.requests or row.cached for row in overview.days):
        blocks = _render_blocks(overview, Paint.for_stream(get_stdout(), no_color=args.no_color))
    else:
        note("the ledger has no calls in this period")
    if blocks:
        put("\n\n".join(blocks), end="\n\n" if overview.budgets else "\n")
    if overview.budgets:
        print_budgets(overview.budgets, args)


def _read_overview(core: Core, args: argparse.Namespace, filters: Mapping[str, Any]) -> _Overview:
    zone, now = core.usage.zone(args.zone), time.time()
    start, end = zone.find_month(args.month or "this-month", now)
    is_current = start <= now < end

    def read(group: Any, since: float, until: float) -> list[UsageRow]:
        return core.usage.by(group, since=since, until=until, zone=args.zone, **filters)

    first = zone.find_date(start)
    last = zone.find_date(now) if is_current else zone.find_date(end) - timedelta(days=1)
    shown_first = last - timedelta(days=_DAYS - 1) if is_current else first
    days = read("day", min(start, zone.find_start(shown_first)), end)
    month = core.usage.sum([row for row in days if row.name >= first.isoformat()])
    pace = month.cost * Decimal((end - start) / (now - start)) if is_current and now > start else None
    return _Overview(
        zone=zone,
        is_current=is_current,
        first=first,
        shown_first=shown_first,
        last=last,
        days=days,
        today=core.usage.sum([row for row in days if row.name == last.isoformat()]),
        month=month,
        pace=None if pace is None else pace.quantize(Decimal("1e-9")),
        parts={part: read(part, start, end) for part in _PARTS},
        budgets=core.usage.budgets() if is_current and not any(filters.values()) else [],
    )


def _print_json(overview: _Overview) -> None:
    today = {"today": to_dict(overview.today)} if overview.is_current else {}
    print_json(
        by="day",
        rows=[to_dict(row) for row in overview.days],
        zone=overview.zone.name,
        month=f"{overview.first:%Y-%m}",
        totals={**today, "month": to_dict(overview.month)},
        pace=overview.pace,
        parts={part: [to_dict(row) for row in rows] for part, rows in overview.parts.items()},
        budgets=[to_dict(state) for state in overview.budgets],
    )


def _render_blocks(overview: _Overview, paint: Paint) -> list[str]:
    """Return the tables of the month, and print their notes."""
    month = f"{overview.first:%Y-%m}"
    rows = [render_row(overview.month, month)]
    if overview.is_current:
        rows = [render_row(overview.today, "today"), render_row(overview.month, "this month")]
    left_out: set[str] = set()
    blocks = [render_usage([""], rows, paint, left_out), "\n".join(_describe_days(overview))]
    blocks += [
        _render_part(part, rows, month, paint, left_out)
        for part, rows in overview.parts.items()
        if _is_divided(rows)
    ]
    command = "llmcore usage --csv" if overview.is_current else f"llmcore usage --month {month} --csv"
    print_left_out(left_out, command)
    print_footnotes([overview.month], overview.parts["model"])
    return blocks


def _describe_days(overview: _Overview) -> list[str]:
    first, last, pace = overview.shown_first, overview.last, overview.pace
    costs = {row.name: row.cost for row in overview.days}
    dates = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    amounts = [costs.get(day.isoformat(), Decimal(0)) for day in dates]
    bars = draw_sparkline(amounts, get_stdout())
    lines = [
        f"cost a day  {bars}  {first} to {last}, {overview.zone.name}; highest {format_cost(max(amounts))}"
    ]
    if pace:
        lines.append(f"pace        {format_cost(pace)} this month, if it continues as before")
    width = get_terminal_width(get_stdout())
    if width is None:
        return lines
    from textwrap import TextWrapper

    indent = " " * len("cost a day  ")
    wrap = TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False).wrap
    return [part for line in lines for part in wrap(line)]


def _is_divided(rows: Sequence[UsageRow]) -> bool:
    """Return whether *rows* show more than their total, because a row has a name."""
    return any(row.name for row in rows)


def _render_part(part: str, rows: Sequence[UsageRow], month: str, paint: Paint, left_out: set[str]) -> str:
    """Return the table of the most expensive rows."""
    ordered = sorted(rows, key=lambda row: (-row.cost, -row.uncertain, row.name))
    table = render_usage([part], [render_row(row) for row in ordered[:_MOST]], paint, left_out)
    more = len(ordered) - _MOST
    return f"{table}\n{more} more: llmcore usage {part} --month {month}" if more > 0 else table
