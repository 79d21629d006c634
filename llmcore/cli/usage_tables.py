"""Tables, CSV and JSON of usage rows and budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TextIO

from llmcore.cli.show import format_cost, note
from llmcore.cli.streams import can_show_unicode, get_stdout

if TYPE_CHECKING:
    from llmcore.ledger.report import BudgetState, UsageRow

__all__ = [
    "BUDGET_HEADERS",
    "HEADERS",
    "draw_sparkline",
    "print_csv",
    "print_footnotes",
    "render_budget",
    "render_row",
    "to_dict",
    "to_flat_dict",
]

HEADERS: Final = (
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
"""The columns after the dimensions."""
BUDGET_HEADERS: Final = ("budget", "period", "limit", "spent", "reserved", "left", "pace", "resets at")
_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.:-=+*#"


def render_row(row: UsageRow, name: str | None = None) -> Sequence[str]:
    """Return the cells of *row*: its dimensions, or *name* in place of them, and HEADERS."""

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


def print_footnotes(rows: Sequence[UsageRow]) -> None:
    """Explain uncertain amounts, on stderr."""
    if unpriced := sum(row.unpriced for row in rows):
        note(
            f"+?: the cost of {unpriced} requests is unknown: their model has no price in [prices] of llmcore.toml, "
            "or their process died (llmcore usage open)"
        )
    if any(row.uncertain for row in rows):
        note("uncertain: requests with an unknown outcome, at their maximum cost; budgets count it")


def render_budget(state: BudgetState) -> Sequence[str]:
    """Return the cells of BUDGET_HEADERS."""

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
    """Return one character per amount, taller for larger amounts; in ASCII if *to* cannot show others."""
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
