"""Errors of the command line itself: a command or an option that does not exist, an argument that does not fit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from llmcore.errors import LLMCoreError, PluginNotFound

__all__ = ["UsageError", "no_command", "usage_error"]

_CHOICE = r"argument (?:[^:]+): invalid choice: '([^']*)' \(choose from (.*)\)"


_STATED = r"(.*); expected is (.*)"
_COMMON = ("-h", "--json", "--no-color", "--profile NAME", "--config FILE")
"""Options of every command, which are no help to one who has another one wrong."""


class UsageError(LLMCoreError):
    """The command line is not acceptable; nothing was done."""

    code = "LC001"


def usage_error(parser: argparse.ArgumentParser, message: str) -> UsageError:
    """Return the error for what argparse complains of."""
    import re

    given = message
    fix, suggestion = f"{parser.prog} --help", None
    expected = " ".join(parser.format_usage().removeprefix("usage: ").split())
    for common in _COMMON:
        expected = expected.replace(f" [{common}]", "")
    if message.startswith("unrecognized arguments: "):
        unknown = message.partition(": ")[2].split()
        message = f"{parser.prog} does not take {' '.join(unknown)}"
        options = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001 - argparse has no public way
        suggestion = _nearest(unknown[0], options)
        if "--parameter" in options and unknown[0].lstrip("-").replace("-", "_") in _parameters():
            suggestion = f"-p {unknown[0].lstrip('-').replace('-', '_')}=VALUE"
    elif choice := re.fullmatch(_CHOICE, message):
        names = [name.strip("' ") for name in choice[2].split(",")]
        message, expected = f"`{parser.prog}` does not know `{choice[1]}`", ", ".join(names)
        suggestion = _nearest(choice[1], names)
        if suggestion:
            option = re.match(r"argument (-[^:/]*)", given)
            fix = f"{parser.prog} ... {option[1]} {suggestion}" if option else f"{parser.prog} {suggestion}"
    elif stated := re.fullmatch(_STATED, message):
        message, expected = stated[1], stated[2]
    return UsageError(message, expected=expected, suggestion=suggestion, fix=fix)


def no_command(name: str, names: Sequence[str], missing: PluginNotFound) -> UsageError:
    """Return the error for a command that neither the host nor a plugin has."""
    nearest = _nearest(name, names)
    help_or_version = f"llmcore --{name}" if name == "version" else "llmcore --help"
    return UsageError(
        f"no command `{name}`",
        code="LC002",
        expected=", ".join(names),
        suggestion=nearest,
        notes=missing.notes,
        fix=f"llmcore {nearest}" if nearest else help_or_version,
    )


def _parameters() -> frozenset[str]:
    from llmcore.hookspecs import COMMON_PARAMETERS

    return COMMON_PARAMETERS


def _nearest(name: str, names: Sequence[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, names, n=1, cutoff=0.6)), None)
