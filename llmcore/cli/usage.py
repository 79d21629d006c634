"""`llmcore usage`: what the ledger has, by day, model, budget, ..., and what becomes of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli.opening import opened
from llmcore.cli.parser import actions
from llmcore.cli.show import Paint, dollars, note, print_json, table

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.ledger.report import BudgetState, UsageRow

__all__ = ["configure"]

_GROUPS: Final = {
    "day": "what each day used, in UTC",
    "month": "what each month used, in UTC",
    "model": "what each model used",
    "provider": "what each provider used",
    "user": "what was used for each user=",
    "tag": "what was used under each of tags=; a call with two tags counts in both",
    "errors": "how requests failed",
}
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
    """Add what `usage` takes."""
    add = actions(parser)
    for name, told in _GROUPS.items():
        _bounded(add(name, told, _by(name)))
    _spoken(add("budget", "what each budget has left", _budgets))
    add("open", "requests under way, and those whose process died before they were settled", _open)
    _bounded(add("export", "every row, as CSV or with --json as JSON, a line each", _export))
    prune = add("prune", "delete settled rows; what budgets have counted stays counted", _prune)
    prune.add_argument("before", metavar="BEFORE", help='a date, or a time before now such as "90d"')
    parser.set_defaults(run=_by("day"), since=None, until=None, csv=False)


def _bounded(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="WHEN", help='a date, or a time before now such as "7d"')
    parser.add_argument("--until", metavar="WHEN", help="the first moment that does not count")
    _spoken(parser)


def _spoken(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", action="store_true", help="print CSV")


def _by(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        with opened(args) as core:
            rows = core.usage.by(name.removesuffix("s"), since=args.since, until=args.until)
            if args.csv:
                _print_csv([_fields(row) for row in rows])
            elif args.json:
                print_json(by=name, rows=[_fields(row) for row in rows])
            elif rows:
                paint = Paint.of(sys.stdout, no_color=args.no_color)
                print(table((name, *_HEADERS[1:]), [_cells(row) for row in rows], paint))
                _told_beneath(rows)
            else:
                note("the ledger has no calls in this time")
        return 0

    return run


def _budgets(args: argparse.Namespace) -> int:
    with opened(args) as core:
        states = core.usage.budgets()
        if args.csv:
            _print_csv([_fields(state) for state in states])
        elif args.json:
            print_json(budgets=[_fields(state) for state in states])
        elif states:
            headers = ("budget", "period", "limit", "spent", "reserved", "left", "resets at")
            paint = Paint.of(sys.stdout, no_color=args.no_color)
            print(table(headers, [_budget_cells(state) for state in states], paint))
        else:
            note('no budget is configured: llmcore config set budget.limit "5.00 USD"')
    return 0


def _open(args: argparse.Namespace) -> int:
    with opened(args) as core:
        rows = core.usage.open()
        if args.json:
            print_json(rows=rows)
        elif rows:
            headers = ("at", "state", "model", "reserved", "user", "tags")
            cells = [
                (_time(row["at"]), row["state"], f"{row['provider']}:{row['model']}", f"${row['reserved']}",
                 row["user"] or "", ", ".join(row["tags"]))
                for row in rows
            ]  # fmt: skip
            print(table(headers, cells, Paint.of(sys.stdout, no_color=args.no_color)))
        else:
            note("every request is settled")
    return 0


def _export(args: argparse.Namespace) -> int:
    with opened(args) as core:
        if args.json:
            import json

            for row in _rows(core, args):
                print(json.dumps(row, ensure_ascii=False))
        else:
            _print_csv({**row, "tags": " ".join(row["tags"])} for row in _rows(core, args))
    return 0


def _rows(core: Core, args: argparse.Namespace) -> Iterable[dict[str, Any]]:
    return core.usage.export(since=args.since, until=args.until)


def _prune(args: argparse.Namespace) -> int:
    with opened(args) as core:
        gone = core.usage.prune(args.before)
        if args.json:
            print_json(deleted=gone)
        note(f"deleted {gone} rows")
    return 0


def _cells(row: UsageRow) -> Sequence[str]:
    def told(number: int) -> str:
        return f"{number:,}" if number else ""

    return (
        row.name or "(none)",
        f"{row.requests:,}",
        told(row.failures),
        told(row.cached),
        told(row.input_tokens),
        told(row.output_tokens),
        told(row.characters),
        dollars(row.cost) + ("+?" if row.unpriced else ""),
        f"up to {dollars(row.uncertain)}" if row.uncertain else "",
        dollars(row.saved) if row.saved else "",
    )


def _told_beneath(rows: Sequence[UsageRow]) -> None:
    if unpriced := sum(row.unpriced for row in rows):
        note(
            f"+?: {unpriced} of the requests cost nobody knows what: [prices] in llmcore.toml can say it, "
            "or their process died (llmcore usage open)"
        )
    if any(row.uncertain for row in rows):
        note(
            "uncertain: requests whose end nobody told, at the most that they can have cost; budgets count it"
        )


def _budget_cells(state: BudgetState) -> Sequence[str]:
    def told(amount: Decimal | None) -> str:
        if amount is None:
            return ""
        return dollars(amount) if state.unit == "USD" else f"{amount:,} {state.unit}"

    left = None if state.limit is None else max(state.limit - state.spent - state.reserved, Decimal(0))
    return (
        state.name,
        state.period,
        told(state.limit),
        told(state.spent),
        told(state.reserved or None),
        told(left),
        state.resets_at or "",
    )


def _fields(row: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(row)


def _print_csv(rows: Iterable[dict[str, Any]]) -> None:
    import csv

    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _time(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
