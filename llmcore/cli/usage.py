"""`llmcore usage`: show, export and prune the rows of the ledger."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli.opening import open_core
from llmcore.cli.parser import make_action_adder
from llmcore.cli.show import Paint, format_cost, note, print_json, put, render_table, to_json
from llmcore.cli.streams import get_stdout

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.ledger.report import BudgetState, UsageRow

__all__ = ["configure"]

_GROUPS: Final = {
    "day": "usage of each day, in UTC",
    "month": "usage of each month, in UTC",
    "model": "usage of each model",
    "provider": "usage of each provider",
    "user": "usage of each user=",
    "tag": "usage of each of tags=; a call with two tags counts for both",
    "errors": "failed requests by error",
}
_OVERLAPPING: Final = ("tag", "tags")
"""The groupings without a total row: a call may be in several groups and would count twice."""
_HEADERS: Final = (
    "",
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


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `usage`."""
    add = make_action_adder(parser)
    for name, help_text in _GROUPS.items():
        _add_period_options(add(name, help_text, _make_command(name)))
    _add_csv_option(add("budget", "what each budget has left", _show_budgets))
    add("open", "requests in progress, and those whose process died before they were settled", _show_open)
    _add_period_options(add("export", "print every row, as CSV or with --json as JSON lines", _export))
    prune = add("prune", "delete settled rows; budgets keep what they have counted", _prune)
    prune.add_argument("before", metavar="BEFORE", help='a date, or a time before now such as "90d"')
    parser.set_defaults(run=_make_command("day"), since=None, until=None, csv=False)


def _add_period_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="WHEN", help='a date, or a time before now such as "7d"')
    parser.add_argument("--until", metavar="WHEN", help="the end of the period, exclusive")
    _add_csv_option(parser)


def _add_csv_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", action="store_true", help="print CSV")


def _make_command(name: Any) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        with open_core(args) as core:
            rows = core.usage.by(name.removesuffix("s"), since=args.since, until=args.until)
            if args.csv:
                _print_csv([_to_dict(row) for row in rows])
            elif args.json:
                print_json(by=name, rows=[_to_dict(row) for row in rows])
            elif rows:
                paint = Paint.of(get_stdout(), no_color=args.no_color)
                total = _render_row(_sum(rows)) if len(rows) > 1 and name not in _OVERLAPPING else ()
                put(
                    render_table(
                        (name, *_HEADERS[1:]), [_render_row(row) for row in rows], paint, total=total
                    )
                )
                _print_footnotes(rows)
            else:
                note("the ledger has no calls in this period")
        return 0

    return run


def _show_budgets(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        states = core.usage.budgets()
        if args.csv:
            _print_csv([_to_dict(state) for state in states])
        elif args.json:
            print_json(budgets=[_to_dict(state) for state in states])
        elif states:
            headers = ("budget", "period", "limit", "spent", "reserved", "left", "resets at")
            paint = Paint.of(get_stdout(), no_color=args.no_color)
            put(render_table(headers, [_render_budget(state) for state in states], paint))
        else:
            fix = core.settings.line_to_set(("budget", "limit"), "5.00 USD")
            note(f"no budget is configured: {fix}")
    return 0


def _show_open(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        rows = core.usage.open()
        if args.json:
            print_json(rows=rows)
        elif rows:
            headers = ("at", "state", "model", "reserved", "user", "tags")
            cells = [
                (_render_time(row["at"]), row["state"], f"{row['provider']}:{row['model']}", f"${row['reserved']}",
                 row["user"] or "", ", ".join(row["tags"]))
                for row in rows
            ]  # fmt: skip
            put(render_table(headers, cells, Paint.of(get_stdout(), no_color=args.no_color)))
        else:
            note("every request is settled")
    return 0


def _export(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        if args.json:
            for row in _export_rows(core, args):
                put(to_json(row, get_stdout()))
        else:
            _print_csv({**row, "tags": " ".join(row["tags"])} for row in _export_rows(core, args))
    return 0


def _export_rows(core: Core, args: argparse.Namespace) -> Iterable[dict[str, Any]]:
    return core.usage.export(since=args.since, until=args.until)


def _prune(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        count = core.usage.prune(args.before)
        if args.json:
            print_json(deleted=count)
        note(f"deleted {count} rows")
    return 0


def _sum(rows: Sequence[UsageRow]) -> UsageRow:
    """Return the sum of *rows*."""
    first, *others = rows
    sums: dict[str, Any] = {
        field: getattr(first, field) for field in first.__struct_fields__ if field != "name"
    }
    for row in others:
        for field in sums:
            sums[field] += getattr(row, field)
    return type(first)(name="total", **sums)


def _render_row(row: UsageRow) -> Sequence[str]:
    def render_count(number: int) -> str:
        return f"{number:,}" if number else ""

    return (
        row.name or "(none)",
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


def _print_footnotes(rows: Sequence[UsageRow]) -> None:
    if unpriced := sum(row.unpriced for row in rows):
        note(
            f"+?: the cost of {unpriced} requests is unknown: add their model to [prices] in llmcore.toml; "
            "or their process died (llmcore usage open)"
        )
    if any(row.uncertain for row in rows):
        note("uncertain: requests with an unknown outcome, at their maximum cost; budgets count it")


def _render_budget(state: BudgetState) -> Sequence[str]:
    def render_amount(amount: Decimal | None) -> str:
        if amount is None:
            return ""
        return format_cost(amount) if state.unit == "USD" else f"{amount:,} {state.unit}"

    left = None if state.limit is None else max(state.limit - state.spent - state.reserved, Decimal(0))
    return (
        state.name,
        state.period,
        render_amount(state.limit),
        render_amount(state.spent),
        render_amount(state.reserved or None),
        render_amount(left),
        state.resets_at or "",
    )


def _to_dict(row: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(row)


def _print_csv(rows: Iterable[dict[str, Any]]) -> None:
    import csv

    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(get_stdout(), list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _render_time(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
