"""`llmcore usage`: show, export and prune the rows of the ledger."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli import usage_alert
from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import open_core
from llmcore.cli.parser import make_action_adder
from llmcore.cli.show import Paint, note, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.cli.text_table import print_table
from llmcore.cli.usage_tables import (
    print_budgets,
    print_csv,
    print_footnotes,
    print_left_out,
    render_row,
    render_usage,
    to_dict,
    to_flat_dict,
)

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["configure"]

_GROUPS: Final = {
    "hour": "usage of each hour",
    "day": "usage of each day",
    "week": "usage of each week, from Monday",
    "month": "usage of each month",
    "model": "usage of each model",
    "provider": "usage of each provider",
    "kind": "usage of each kind: llm, voice, embedding",
    "user": "usage of each user that calls pass in user=",
    "key": "usage of each API key of a gateway's clients",
    "tag": "usage of each tag that calls pass in tags=; a call with two tags counts for both",
    "errors": "failed requests by error",
}
_FILTERS: Final = {
    "kind": "only calls of this kind",
    "provider": "only calls to this provider",
    "model": "only calls to this model",
    "user": 'only calls of this user; "" for calls without one',
    "key": "only calls with the API key of this name",
    "tag": 'only calls with this tag; "" for calls without tags',
}
_EPILOG: Final = """examples:
  llmcore usage                        today, this month, budgets
  llmcore usage --month last-month     the same report for last month
  llmcore usage day --by model --since 7d
  llmcore usage model --month 2026-10 --user ann"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `usage`."""
    parser.epilog = _EPILOG
    # The defaults of a subcommand would overwrite options before the subcommand, as in `usage --since 7d
    # day`. So only `usage` has defaults.
    parser.set_defaults(
        run=_show_month, since=None, until=None, month=None, zone=None, by=None, csv=False,
        **dict.fromkeys(_FILTERS),
    )  # fmt: skip
    _add_month_option(parser)
    _add_filters(parser)
    _add_by_option(parser, "print only the usage of the month by this group, such as model; can be repeated")
    _add_csv_option(parser)
    add = make_action_adder(parser)
    for name, help_text in _GROUPS.items():
        action = add(name, help_text, _make_command(name))
        _add_by_option(action, "divide each row by a further group, such as model; can be repeated")
        _add_period_options(action)
        _add_csv_option(action)
    last_month = add(
        "last-month", "cost of last month by model, user and tag, and savings of the cache", _show_month
    )
    last_month.set_defaults(month="last-month")
    _add_filters(last_month)
    _add_by_option(
        last_month, "print only the usage of the month by this group, such as model; can be repeated"
    )
    _add_csv_option(last_month)
    _add_csv_option(add("budget", "the remaining amount of each budget; periods begin in UTC", _show_budgets))
    usage_alert.configure(
        add("alert", "the alerts of budgets; --test sends one to each receiver", usage_alert.run)
    )
    add("open", "requests in progress, and requests that a killed process did not settle", _show_open)
    export = add(
        "export", "write every row as CSV; with --json as JSON lines, with --parquet as Parquet", _export
    )
    export.epilog = (
        "If `uncertain` is True, the outcome of the request is unknown, and the cost of the row is its maximum. Tables and --csv of "
        "`llmcore usage model` and other groups have these amounts in a column of their own."
    )
    _add_period_options(export)
    _add_csv_option(export)
    export.add_argument("--parquet", action="store_true", help="write Parquet; needs pyarrow")
    export.add_argument("-o", "--output", metavar="FILE", help="write to FILE in place of stdout")
    _add_reconcile(
        add(
            "reconcile", "compare the ledger with the bill of the vendor, and explain differences", _reconcile
        )
    )
    move = add("migrate", "copy rows, budgets and API keys into another ledger", _migrate)
    move.add_argument(
        "--to", metavar="NAME", required=True, help="a ledger of the configuration, such as postgres"
    )
    prune = add("prune", "replace settled rows by the sums of their days; figures stay the same", _prune)
    prune.add_argument("before", metavar="BEFORE", help='a date, or a time before now such as "90d"')
    prune.add_argument(
        "--zone",
        metavar="ZONE",
        help="reports by day stay exact in UTC and in this time zone; default: local time",
        default=argparse.SUPPRESS,
    )


def _add_reconcile(action: argparse.ArgumentParser) -> None:
    from llmcore.cli.usage_reconcile import configure_reconcile

    configure_reconcile(action)
    unset: Any = argparse.SUPPRESS
    action.add_argument(
        "--since", metavar="WHEN", help='a UTC day, or a time before now; default: "7d"', default=unset
    )
    action.add_argument(
        "--until",
        metavar="WHEN",
        help="the day after the last day of the period; default: tomorrow",
        default=unset,
    )
    _add_month_option(action)


def _add_period_options(parser: argparse.ArgumentParser) -> None:
    unset: Any = argparse.SUPPRESS
    parser.add_argument(
        "--since", metavar="WHEN", help='a date, or a time before now such as "7d"', default=unset
    )
    parser.add_argument("--until", metavar="WHEN", help="the end of the period, exclusive", default=unset)
    _add_month_option(parser)
    _add_filters(parser)


def _add_month_option(parser: argparse.ArgumentParser) -> None:
    unset: Any = argparse.SUPPRESS
    parser.add_argument(
        "--month", metavar="MONTH", help="a month: 2026-10, this-month or last-month", default=unset
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    unset: Any = argparse.SUPPRESS
    for name, help_text in _FILTERS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=help_text, default=unset)
    parser.add_argument(
        "--zone",
        metavar="ZONE",
        help="the time zone, such as Europe/Berlin; default: local time",
        default=unset,
    )


def _add_by_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    parser.add_argument("--by", metavar="GROUP", action="append", default=argparse.SUPPRESS, help=help_text)


def _add_csv_option(parser: argparse.ArgumentParser) -> None:
    unset: Any = argparse.SUPPRESS
    parser.add_argument("--csv", action="store_true", help="print CSV", default=unset)


def _get_filters(args: argparse.Namespace) -> Mapping[str, str | None]:
    return {name: getattr(args, name) for name in _FILTERS}


def _get_selection(args: argparse.Namespace) -> dict[str, Any]:
    """Return the period, zone and filters of *args*, as arguments of `core.usage.by`."""
    since, until = args.since, args.until
    if args.month is not None:
        if (since, until) != (None, None):
            raise UsageError(
                "--month and --since or --until exclude each other",
                where="--month",
                expected="a month, or a start and an end",
                fix=f"llmcore usage day --month {args.month}",
            )

        import time

        from llmcore.ledger.zones import find_zone

        since, until = find_zone(args.zone).find_month(args.month, time.time())
    return {"since": since, "until": until, "zone": args.zone, **_get_filters(args)}


def _show_month(args: argparse.Namespace) -> int:
    """Show the overview. With --by or --csv, show the usage of the month by one group instead."""
    if args.by or args.csv:
        names = args.by or ["model"]
        args.by = names[1:]
        if (args.month, args.since, args.until) == (None, None, None):
            args.month = "this-month"
        return _make_command(names[0])(args)
    from llmcore.cli.usage_overview import show_overview

    with open_core(args) as core:
        show_overview(core, args, _get_filters(args))
    return 0


def _make_command(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        names = [name, *(args.by or ())]
        groups: Any = [each.removesuffix("s") if each == "errors" else each for each in names]
        with open_core(args) as core:
            rows = core.usage.by(groups, **_get_selection(args))
            if args.csv:
                print_csv(to_flat_dict(row, groups) for row in rows)
            elif args.json:
                print_json(by=",".join(names), rows=[to_dict(row) for row in rows])
            elif rows:
                _print_table(core, names, rows, args)
            else:
                note("the ledger has no calls in this period")
        return 0

    return run


def _print_table(core: Core, names: list[str], rows: Any, args: argparse.Namespace) -> None:
    paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
    total: Sequence[str] = ()
    if len(rows) > 1 and "tag" not in names:  # a call with two tags would count twice
        total = ("total", *("" for _ in names[1:]), *render_row(core.usage.sum(rows))[1:])
    left_out: set[str] = set()
    put(render_usage(names, [render_row(row) for row in rows], paint, left_out, total=total))
    print_left_out(left_out, f"llmcore usage {names[0]} --csv")
    print_footnotes(rows, rows if names == ["model"] else ())


def _show_budgets(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        states = core.usage.budgets()
        if args.csv:
            print_csv(to_dict(state) for state in states)
        elif args.json:
            print_json(budgets=[to_dict(state) for state in states])
        elif states:
            print_budgets(states, args)
        else:
            fix = core.settings.format_set_line(("budget", "limit"), "5.00 USD")
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
            print_table(args, headers, cells, whole=("at", "state", "model"), optional=("tags", "user", "at"))
        else:
            note("every request is settled")
    return 0


def _export(args: argparse.Namespace) -> int:
    from llmcore.cli.usage_export import export

    with open_core(args) as core:
        export(core.usage.export(**_get_selection(args)), args)
    return 0


def _reconcile(args: argparse.Namespace) -> int:
    from llmcore.cli.usage_reconcile import reconcile
    from llmcore.ledger.zones import find_zone

    args.zone = "UTC"  # the days of a bill are UTC days
    zone, selection = find_zone("UTC"), _get_selection(args)
    since, until = (zone.to_timestamp(selection[name]) for name in ("since", "until"))
    return reconcile(
        args,
        (None if since is None else zone.find_date(since), None if until is None else zone.find_date(until)),
    )


def _migrate(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        copied = core.usage.migrate(core.backend("ledger", args.to).provider)
        if args.json:
            print_json(**copied._asdict())
        note(
            f"copied {copied.rows} rows, {copied.keys} keys, and for {copied.budgets} budgets the amounts of rows that no longer exist"
        )
        if copied.deferred:
            note(
                f"moved {copied.deferred} open requests of batches: run `llmcore batch resume` after the command in the next line"
            )
        note(f"next: {core.settings.format_set_line(('ledger', 'provider'), args.to)}")
    return 0


def _prune(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        count = core.usage.prune(args.before, zone=args.zone)
        if args.json:
            print_json(deleted=count)
        note(f"replaced {count} rows by the sums of their days")
    return 0


def _render_time(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
