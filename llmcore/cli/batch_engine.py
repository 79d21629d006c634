"""The options of `llmcore batch run` that choose an engine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from llmcore.cli.command_errors import UsageError
from llmcore.config.dict_layer import DictLayer
from llmcore.config.keys import Path

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


def make_engine_settings(
    args: argparse.Namespace, render_command: Callable[[argparse.Namespace], str]
) -> DictLayer | None:
    """Return the settings from the options; None without `--engine`. *render_command* returns the command for a fix."""
    if args.engine is None:
        return None
    table = {} if args.engine_address is None else {"address": args.engine_address}
    tree = {"batch": {"engine": args.engine}, **({"engines": {args.engine: table}} if table else {})}
    return _EngineOptions(
        tree, lambda **changes: render_command(argparse.Namespace(**{**vars(args), **changes}))
    )


class _EngineOptions(DictLayer):
    """The settings that come from the options of the command line."""

    def __init__(self, tree: Mapping[str, Any], render_command: Callable[..., str]) -> None:
        super().__init__("arguments", tree)
        self._render_command = render_command

    def find_position(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.find_position`."""
        del at
        return "--engine-address" if path[-1] == "address" else "--engine"

    def format_set_fix(self, path: Path, value: str) -> str | None:
        """See `Layer.format_set_fix`."""
        return self._render_command(**{"engine_address" if path[-1] == "address" else "engine": value})

    def format_open_fix(self, path: Path) -> str | None:
        """See `Layer.format_open_fix`."""
        return self._render_command(engine=path[-1])

    def format_unset_fix(self, path: Path) -> str | None:
        """See `Layer.format_unset_fix`."""
        del path
        return self._render_command(engine_address=None)
