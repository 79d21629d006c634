"""`llmcore keys`: create, list and revoke the keys of the gateway's clients."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from llmcore.errors import LLMCoreError
from llmcore.units import Duration

if TYPE_CHECKING:
    from llmcore import ApiKey, Core

__all__ = ["run"]

_PERIODS: Final = {"day": "per day", "month": "per month", "total": "in total"}


def run(arguments: list[str]) -> int:
    """Create, list or revoke keys."""
    parser = _make_parser()
    args = parser.parse_args(arguments)
    import llmcore

    with llmcore.load(args.config, profile=args.profile) as core:
        if args.action == "create":
            _create(core, args)
        elif args.action == "revoke":
            key = core.keys.revoke(args.name)
            _print(_describe(key), as_json=args.json, text=f"revoked {key.name}")
        else:
            keys = core.keys.list_keys()
            if args.json:
                _print([_describe(key) for key in keys], as_json=True, text="")
            else:
                _print_table([_describe(key) for key in keys])
    return 0


def _create(core: Core, args: argparse.Namespace) -> None:
    names = [name.strip() for name in (args.models or "").split(",") if name.strip()]
    for name in names:
        core.llm.resolve(name)  # raises an error for a misspelt provider
    unknown = _list_unknown(core, names)
    if args.per is not None and args.budget is None:
        raise LLMCoreError(
            f"--per {args.per} needs --budget: without it, the key has no budget",
            where="--per",
            expected="--budget AMOUNT --per PERIOD",
            fix=f'llmcore keys create {shlex.quote(args.name)} --budget "5 USD" --per {args.per}',
        )
    key, text = core.keys.create(
        args.name,
        budget=None if args.budget is None else _parse_budget(args.budget),
        per=args.per or "total",
        models=names,
        requests_per_minute=args.requests_per_minute,
        expires_in_s=None if args.expires is None else _parse_duration(args.expires),
    )
    for warning in unknown:
        print(f"warning: {warning}", file=sys.stderr)
    shown = {"name": key.name, "key": text, **_describe(key)}
    if not args.json:
        print("This key is shown once:", file=sys.stderr)
    _print(shown, as_json=args.json, text=text)


def _list_unknown(core: Core, names: Sequence[str]) -> list[str]:
    """Return a warning for each name that is not a model of this gateway.

    The list is empty if a voice is configured, because a name may be a model of the voice.
    """
    from llmcore_gateway.gateway import find_model_names

    if not names or core.settings.voice.provider is not None:
        return []
    models = find_model_names(core, core.table("gateway"))
    warnings = []
    for name in names:
        if not models.is_served(name):
            near = get_close_matches(name, models.names, n=1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            served = ", ".join(models.names)
            warnings.append(f"--models: no model of this gateway is named `{name}`{hint}; it serves {served}")
    return warnings


def _describe(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "id": key.id,
        "state": _get_state(key),
        "budget": None if key.budget is None else f"{key.budget:f}",
        "per": None if key.budget is None else key.per,
        "models": list(key.models),
        "requests_per_minute": key.requests_per_minute,
        "created_at": _format_time(key.created_at),
        "expires_at": _format_time(key.expires_at),
        "revoked_at": _format_time(key.revoked_at),
    }


def _get_state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(time.time()) else "expired"


def _format_time(at: float | None) -> str | None:
    return (
        None
        if at is None
        else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )


def _print(value: Any, *, as_json: bool, text: str) -> None:
    print(json.dumps(value) if as_json else text)


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("no keys; the gateway accepts requests from this machine without a key", file=sys.stderr)
        return
    table = [("NAME", "STATE", "BUDGET", "MODELS", "EXPIRES")]
    for row in rows:
        budget = "-" if row["budget"] is None else f"${row['budget']} {_PERIODS[row['per']]}"
        table.append(
            (
                row["name"],
                row["state"],
                budget,
                ", ".join(row["models"]) or "all",
                row["expires_at"] or "never",
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _parse_budget(text: str) -> Decimal:
    amount = text.strip().removeprefix("$").removesuffix("USD").strip()
    try:
        budget = Decimal(amount)
    except InvalidOperation:
        budget = Decimal(-1)
    if not budget.is_finite() or budget < 0:
        raise LLMCoreError(
            f"--budget must be an amount in USD, got {text!r}",
            where="--budget",
            expected='an amount such as "5 USD"',
            fix='llmcore keys create NAME --budget "5 USD" --per month',
        )
    return budget


def _parse_duration(text: str) -> float:
    try:
        return Duration.parse(text)
    except ValueError:
        raise LLMCoreError(
            f"--expires must be a duration, got {text!r}",
            where="--expires",
            expected=Duration.expected,
            fix="llmcore keys create NAME --expires 30d",
        ) from None


def _make_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("for every command")
    unset: Any = argparse.SUPPRESS
    group.add_argument("--json", action="store_true", help="print JSON, also for errors", default=unset)
    group.add_argument("--no-color", action="store_true", help="print without colour", default=unset)
    group.add_argument("--profile", metavar="NAME", help="use [profiles.NAME]", default=unset)
    group.add_argument("--config", metavar="FILE", help="use FILE in place of llmcore.toml", default=unset)
    parser = argparse.ArgumentParser(
        prog="llmcore keys",
        description="Manage the keys of the gateway's clients. A key's name is the user of its calls in ledger and budgets.",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(json=False, no_color=False, profile=None, config=None)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", parents=[common], help="create a key and print it, once")
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--budget", metavar="AMOUNT", help='the most that calls with the key may cost, such as "5 USD"'
    )
    create.add_argument(
        "--per",
        choices=("day", "month", "total"),
        help="the period of the budget; default: total",
    )
    create.add_argument(
        "--models", metavar="NAME,...", help="the names that the key allows, as in [models]; default: all"
    )
    create.add_argument("--requests-per-minute", type=int, metavar="N")
    create.add_argument(
        "--expires", metavar="DURATION", help='the lifetime, such as "30d"; default: unlimited'
    )
    actions.add_parser("list", parents=[common], help="list the keys")
    revoke = actions.add_parser("revoke", parents=[common], help="refuse a key within a second")
    revoke.add_argument("name", metavar="NAME")
    return parser
