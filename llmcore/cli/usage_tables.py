"""Tables, CSV and JSON of usage rows and budgets."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TextIO

from llmcore.cli.show import Paint, format_cost, get_terminal_width, note
from llmcore.cli.streams import can_show_unicode, get_stdout
from llmcore.cli.text_table import print_table, render_table

if TYPE_CHECKING:
    from llmcore.ledger.report import BudgetState, UsageRow

__all__ = [
    "draw_sparkline",
    "print_budgets",
    "print_csv",
    "print_footnotes",
    "print_left_out",
    "render_row",
    "render_usage",
    "to_dict",
    "to_flat_dict",
]

_HEADERS: Final = (
    "requests",
    "failed",
    "cached",
    "tokens in",
    "out",
    "characters",
    "cost",
    "uncertain",
    "saved",
)
"""The columns of figures. The columns of dimensions, such as day and model, precede them."""
_LEAST_IMPORTANT: Final = ("characters", "tokens in", "out", "cached", "failed", "saved")
"""Columns that a narrow terminal has no space for, in the order in which they are left out."""
_WIDEST: Final = 10_000
"""A width in characters at which `render_table` shortens no column."""
_BUDGET_HEADERS: Final = ("budget", "period", "limit", "spent", "reserved", "left", "pace", "resets at")
_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.:-=+*#"


def render_row(row: UsageRow, name: str | None = None) -> Sequence[str]:
    """Return the cells of *row*: the values of its dimensions (or *name* instead), then those of HEADERS."""

    def render_count(number: int) -> str:
        return f"{number:,}" if number else ""

    return (
        *((part or "(none)" for part in row.key) if name is None else (name,)),
        f"{row.requests:,}",
        render_count(row.failures),
        render_count(row.cached),
        render_count(row.input_tokens),
        render_count(row.output_tokens),
        render_count(row.characters),
        format_cost(row.cost) + ("+?" if row.unpriced else ""),
        f"up to {format_cost(row.uncertain)}" if row.uncertain else "",
        format_cost(row.saved) if row.saved else "",
    )


def render_usage(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    paint: Paint,
    left_out: set[str],
    *,
    total: Sequence[str] = (),
) -> str:
    """Return the table of *rows*, which are results of `render_row`. The headers are *names* and HEADERS.

    If the terminal is too narrow, columns are left out, and their headers are added to *left_out*. If this is not
    enough, long names continue on the next line.
    """
    headers, width = (*names, *_HEADERS), get_terminal_width(get_stdout())
    plain = Paint(on=False)
    shown = list(range(len(headers)))

    def render(paint: Paint, width: int | None, wrapped: Sequence[str] = ()) -> str:
        cells = [[row[at] for at in shown] for row in rows]
        sums = [total[at] for at in shown] if total else ()
        return render_table(
            [headers[at] for at in shown], cells, paint, total=sums, width=width, wrapped=wrapped
        )

    for header in _LEAST_IMPORTANT:
        if width is None or max(map(len, render(plain, _WIDEST).splitlines())) <= width:
            break
        at = headers.index(header, len(names))
        shown.remove(at)
        if any(row[at] for row in rows):
            left_out.add(header)
    return render(paint, width, names)


def print_left_out(left_out: set[str], command: str) -> None:
    """Name on stderr the columns that were left out, and *command*, which prints all columns."""
    if left_out:
        columns = ", ".join(header for header in _HEADERS if header in left_out)
        note(f"not shown in this width: {columns}; all columns: {command}")


def print_footnotes(rows: Sequence[UsageRow], models: Sequence[UsageRow] = ()) -> None:
    """Explain unknown and uncertain costs of *rows* on stderr. *models* are the rows of the models, if the caller has them."""
    if unpriced := sum(row.unpriced for row in rows):
        names = [row.name for row in models if row.unpriced]
        where = f"of {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" if names else ""  # noqa: PLR2004 - at most three names are shown
        note(
            f"+?: the cost of {unpriced} requests {where or '(llmcore usage model)'} is unknown. If the model has no price, set one for "
            f"later calls: llmcore config set 'prices.\"{names[0] if names else 'PROVIDER:MODEL'}\"' '{{ input = 0.25, output = 2.00 }}'. "
            "If it has a price, a process died before it knew the cost: llmcore usage open"
        )
    if any(row.uncertain for row in rows):
        note("uncertain: requests with an unknown outcome, at their maximum cost; budgets count it")


def print_budgets(states: Iterable[BudgetState], args: argparse.Namespace) -> None:
    """Print the table of budgets."""
    print_table(
        args,
        _BUDGET_HEADERS,
        [_render_budget(state) for state in states],
        whole=("period", "resets at"),
        optional=("resets at", "pace", "reserved", "period", "limit"),
        wrapped=("budget",),
    )


def _render_budget(state: BudgetState) -> Sequence[str]:
    """Return the cells of _BUDGET_HEADERS."""

    def render_amount(amount: Decimal | None) -> str:
        if amount is None:
            return ""
        return format_cost(amount) if state.unit == "USD" else f"{round(amount):,} {state.unit}"

    left = None if state.limit is None else max(state.limit - state.spent - state.reserved, Decimal(0))
    return (
        state.name,
        state.period if state.resets_at is None else f"{state.period} UTC",
        render_amount(state.limit),
        render_amount(state.spent),
        render_amount(state.reserved or None),
        render_amount(left),
        render_amount(state.pace or None),
        state.resets_at or "",
    )


def draw_sparkline(amounts: Sequence[Decimal], to: TextIO) -> str:
    """Return one character per amount, taller for larger amounts; in ASCII if *to* cannot show Unicode."""
    bars = _BARS if can_show_unicode(to) else _ASCII_BARS
    highest = max(amounts, default=Decimal(0))
    top = len(bars) - 1
    return "".join(bars[max(1, int(amount * top / highest))] if amount > 0 else bars[0] for amount in amounts)


def to_dict(row: Any) -> dict[str, Any]:
    """Return a row or a budget for `--json`."""
    import msgspec

    return msgspec.structs.asdict(row)


def to_flat_dict(row: UsageRow, names: Sequence[str]) -> dict[str, Any]:
    """Return *row* as CSV prints it: one column for each of its dimensions *names*."""
    fields = to_dict(row)
    key = fields.pop("key")
    if len(names) > 1:
        del fields["name"]
        return {**dict(zip(names, key, strict=True)), **fields}
    return fields


def print_csv(rows: Iterable[dict[str, Any]], to: TextIO | None = None) -> None:
    """Write *rows* to *to*, by default stdout."""
    import csv

    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(to or get_stdout(), list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
