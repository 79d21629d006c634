"""Errors of the command line itself: a command or an option that does not exist, an argument that does not fit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from llmcore.errors import LLMCoreError, PluginNotFound

__all__ = ["UsageError", "no_command", "usage_error"]

_CHOICE = r"argument (?:[^:]+): invalid choice: '([^']*)' \(choose from (.*)\)"


class UsageError(LLMCoreError):
    """The command line is not acceptable; nothing was done."""

    code = "LC001"


def usage_error(parser: argparse.ArgumentParser, message: str) -> UsageError:
    """Return the error for what argparse complains of."""
    import re

    fix = f"{parser.prog} --help"
    expected = parser.format_usage().removeprefix("usage: ").strip()
    expected = " ".join(expected.split())
    suggestion = None
    if message.startswith("unrecognized arguments: "):
        unknown = message.partition(": ")[2].split()
        message = f"{parser.prog} does not take {' '.join(unknown)}"
        options = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001 - argparse has no public way
        suggestion = _nearest(unknown[0], options)
    elif choice := re.fullmatch(_CHOICE, message):
        names = [name.strip("' ") for name in choice[2].split(",")]
        message, expected = f"`{parser.prog}` does not know `{choice[1]}`", ", ".join(names)
        suggestion = _nearest(choice[1], names)
    return UsageError(message, expected=expected, suggestion=suggestion, fix=fix)


def no_command(name: str, names: Sequence[str], missing: PluginNotFound) -> UsageError:
    """Return the error for a command that neither the host nor a plugin has."""
    nearest = _nearest(name, names)
    return UsageError(
        f"no command `{name}`",
        code="LC002",
        expected=", ".join(names),
        suggestion=nearest,
        notes=missing.notes,
        fix=f"llmcore {nearest}" if nearest else "llmcore --help",
    )


def _nearest(name: str, names: Sequence[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, names, n=1, cutoff=0.6)), None)
