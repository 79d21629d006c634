"""The options of `llmcore batch run` that choose an engine."""

from __future__ import annotations

import argparse
from typing import Any, Final

from llmcore.cli.misuse import UsageError

__all__ = ["ENGINE", "check_engine", "make_engine_settings"]

ENGINE: Final = ("engine", "engine_address")
"""The names of the options in the parsed arguments."""


def check_engine(args: argparse.Namespace) -> None:
    """Raise `UsageError` if the options contradict each other."""
    if args.engine_address is not None and args.engine is None:
        raise UsageError(
            "--engine-address needs the name of the engine",
            where="--engine-address",
            expected="--engine NAME --engine-address ADDRESS",
        )
    if args.engine not in {None, "local"} and (args.say or args.lane in {"queue", "auto"}):
        other = "--say" if args.say else f"--lane {args.lane}"
        raise UsageError(
            f"--engine {args.engine} cannot be combined with {other}",
            where="--engine",
            expected="an engine for the lane `now`, without --say",
        )


def make_engine_settings(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the settings for the options; None if there are none."""
    if args.engine is None:
        return None
    table = {} if args.engine_address is None else {"address": args.engine_address}
    return {"batch": {"engine": args.engine}, **({"engines": {args.engine: table}} if table else {})}
