"""`llmcore batch run --dry-run`: estimate the requests and the cost of a run."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.cli.batch_files import stat_file
from llmcore.cli.show import format_cost, put
from llmcore.config.dict_layer import copy_tree
from llmcore.errors import LLMCoreError
from llmcore.llm.batch.estimate import Estimate
from llmcore.llm.batch.store import RunStore

if TYPE_CHECKING:
    from llmcore.config.settings import Settings
    from llmcore.llm.batch.run import BatchRun

__all__ = ["Forecast", "show_estimate"]

_NAMES: Final = ("at least", "likely", "at most")
_MOST_ITEMS: Final = 10_000
"""A run with more lines than this starts without an estimate, because the estimate takes a second for 5,000 lines."""
_TABLES: Final = ("llm", "voice", "models", "prices")
"""The tables of the configuration that decide which model answers a line, and at which price."""


class _Costs(msgspec.Struct, frozen=True):
    """The estimate as the file of the run stores it. Amounts are USD."""

    scope: str
    """A digest of everything that the estimate depends on; see `_compute_scope`."""
    before: Decimal
    """The cost of the requests that were sent before the estimate."""
    costs: tuple[Decimal | None, Decimal | None, Decimal | None]
    """The cost of the rest: at least, likely, at most. None means that the amount is unlimited or unknown."""


class Forecast:
    """Estimates a run before it starts, and compares the estimate with the outcome. Long runs are not estimated.

    The file of the run keeps the estimate. A run that continues with the same lines, parameters and prices is therefore
    not estimated again.

    Args:
        run: The run.
        args: The arguments of the command.
        count: The number of lines; None if the number is unknown.
        settings: The configuration.
        parameters: The parameters of every line, with the schema of the answers.
    """

    def __init__(
        self,
        run: BatchRun,
        args: argparse.Namespace,
        count: int | None,
        settings: Settings,
        parameters: Mapping[str, Any],
    ) -> None:
        self._run = run
        self._scope = _compute_scope(args, count, settings, parameters)
        self._before = run.summary.cost
        self._costs: tuple[Decimal | None, Decimal | None, Decimal | None] | None = None
        if count is None or count > _MOST_ITEMS or self._load():
            return
        try:
            found = run.estimate()
        except LLMCoreError:  # the run will raise the same error
            return
        if args.lane in {"queue", "auto"} and found.has_queue:
            self._costs = found.queue_least, found.queue_likely, found.queue_most
        else:
            self._costs = found.cost_least, found.cost_likely, found.cost_most
        with closing(RunStore(run.path)) as store:
            store.set(forecast=msgspec.json.encode(_Costs(self._scope, self._before, self._costs)).decode())

    def _load(self) -> bool:
        """Load the estimate from the file of the run. Return whether the file has an estimate of the same scope."""
        with closing(RunStore(self._run.path)) as store:
            text = store.get("forecast")
        stored = None if text is None else msgspec.json.decode(text, type=_Costs)
        if stored is None or stored.scope != self._scope:
            return False
        self._before, self._costs = stored.before, stored.costs
        return True

    def describe(self) -> dict[str, Any]:
        """Return the cost of the run since its estimate, and the estimated costs, in USD. An unknown cost is None."""
        names = "estimate_least", "estimate_likely", "estimate_most"
        costs = dict(zip(names, self._costs or (None,) * 3, strict=True))
        return {"part_cost": self._run.summary.cost - self._before, **costs}

    def render(self) -> str | None:
        """Return a sentence that compares the estimate with the outcome; None without an estimate."""
        if self._costs is None or self._costs[1] is None:
            return None
        amounts = ", ".join(
            f"{_format_amount(amount)} {name}" for amount, name in zip(self._costs, _NAMES, strict=True)
        )
        return f"estimated {amounts}; it cost {format_cost(self._run.summary.cost - self._before)}"


def _compute_scope(
    args: argparse.Namespace, count: int | None, settings: Settings, parameters: Mapping[str, Any]
) -> str:
    """Return a digest of the lane, the lines, the parameters, and the models and prices of the configuration."""
    tables = copy_tree(
        {name: settings.get((name,)) for name in _TABLES if settings.find_position((name,)) is not None}
    )
    facts = [args.lane, count, stat_file(args.input), parameters, tables]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def show_estimate(found: Estimate, run: str, *, as_json: bool) -> None:
    """Print *found*, the estimate of the run *run*."""
    if as_json:
        from llmcore.cli.show import print_json

        print_json(
            run=run,
            dry_run=True,
            **{
                **msgspec.structs.asdict(found),
                "budgets": [msgspec.structs.asdict(room) for room in found.budgets],
            },
        )
        return
    lines = [("items", f"{found.items:,}")]
    lines += [
        (name, f"{number:,}")
        for name, number in (
            ("malformed", found.malformed),
            ("answered", found.answered),
            ("duplicates", found.duplicates),
            ("cached", found.cached),
        )
        if number or name != "answered"
    ]
    most = "unlimited" if found.output_most is None else f"{found.output_most:,}"
    lines += [
        ("requests", f"{found.requests:,} to send"),
        *([("characters", f"{found.characters:,}")] if found.characters else []),
        *(
            [("input tokens", f"{found.input_tokens:,}, {_format_share(found.exact_share)} of them exact")]
            if found.input_tokens
            else []
        ),
        *(
            [
                (
                    "output tokens",
                    f"{found.output_least:,} at least, {found.output_likely:,} likely, {most} at most",
                )
            ]
            if found.output_likely
            else []
        ),
        ("cost", _format_costs(found)),
        *([("in the queue", _format_queue(found))] if found.has_queue else []),
        ("time", _format_time(found.seconds)),
    ]
    for room in found.budgets:
        allowed = "all" if room.requests == room.of else f"about {room.requests:,} of {room.of:,}"
        name = "--budget" if room.name.endswith(f"batch:{run}") else f"budget {room.name}"
        lines.append((name, f"{format_cost(room.left)} left, which allows {allowed} requests"))
    width = max(len(name) for name, _ in lines)
    put("\n".join(f"{name:<{width}}  {text}" for name, text in lines))


def _format_share(share: float) -> str:
    return f"{int(share * 100)}%"  # rounded down: 100% only if all counts are exact


def _format_costs(found: Estimate) -> str:
    if found.unpriced:
        return f"unknown: no price for {', '.join(found.unpriced)}"
    amounts = found.cost_least, found.cost_likely, found.cost_most
    return ", ".join(f"{_format_amount(amount)} {name}" for amount, name in zip(amounts, _NAMES, strict=True))


def _format_queue(found: Estimate) -> str:
    amounts = found.queue_least, found.queue_likely, found.queue_most
    costs = ", ".join(
        f"{_format_amount(amount)} {name}" for amount, name in zip(amounts, _NAMES, strict=True)
    )
    return f"{costs}, within a day: --lane queue"


def _format_amount(amount: Decimal | None) -> str:
    return "unlimited" if amount is None else format_cost(amount)


def _format_time(seconds: float | None) -> str:
    if seconds is None:
        return "not limited by [limits]"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
    )
    return f"{text} at least, by [limits]"
