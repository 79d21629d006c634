"""`llmcore usage alert`: list the alerts of the budgets, and send a test to their receivers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli.command_helpers import open_core
from llmcore.cli.show import Paint, note, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.cli.text_table import print_table

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["configure", "run"]

_FAILED: Final = 1
"""The exit code if a test did not reach a receiver."""
_HEADERS: Final = ("budget", "at", "faster than", "sent to")
_EXAMPLE: Final = ("budget", "alert_url")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `usage alert`."""
    parser.add_argument(
        "--test", action="store_true", help="send a test to each receiver now, and show whether it arrived"
    )


def run(args: argparse.Namespace) -> int:
    """Run `usage alert`. The exit code is 1 if a test did not reach a receiver."""
    with open_core(args) as core:
        return _send_tests(core, args) if args.test else _list_alerts(core, args)


def _send_tests(core: Core, args: argparse.Namespace) -> int:
    deliveries = core.usage.test_alerts()
    if args.json:
        print_json(deliveries=[each._asdict() for each in deliveries])
    else:
        paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
        for each in deliveries:
            mark = paint("green", "sent  ") if each.error is None else paint("red", "failed")
            put(
                f"{mark}  budget {each.budget} to {each.receiver}" + (f": {each.error}" if each.error else "")
            )
    if not deliveries:
        note(
            f"no budget has a receiver of alerts: {core.settings.format_set_line(_EXAMPLE, 'env:ALERT_WEBHOOK')}"
        )
        return _FAILED
    return _FAILED if any(each.error for each in deliveries) else 0


def _list_alerts(core: Core, args: argparse.Namespace) -> int:
    alerts = core.usage.alerts()
    if args.json:
        print_json(alerts=[each._asdict() for each in alerts])
        return 0
    if not alerts:
        note(f"no budget has alerts: {core.settings.format_set_line(('budget', 'alert_at'), '[0.8, 1.0]')}")
        return 0
    rows = [_render(each) for each in alerts]
    print_table(args, _HEADERS, rows, whole=("budget",), optional=("faster than",), wrapped=("sent to",))
    for each in alerts:
        if not (each.at or each.faster_than):
            note(f"budget {each.budget} has receivers, but neither `alert_at` nor `alert_faster_than`")
    return 0


def _render(alert: Any) -> tuple[str, ...]:
    at = ", ".join(f"{part:.4g}" for part in alert.at)
    faster = f"{alert.faster_than:g} usual days" if alert.faster_than else ""
    return alert.budget, at, faster, ", ".join(["log", *alert.receivers])
