"""The table of commands, and their parsers, each made when its command is called."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

__all__ = ["COMMANDS", "EXIT_CODES", "Parser", "actions", "common", "defaults", "of", "split", "top"]

COMMANDS = {
    "ask": "ask a language model once",
    "chat": "hold a conversation",
    "count": "count tokens without asking anybody",
    "models": "list the models on offer",
    "say": "speak a text into a file, or aloud",
    "voices": "list and search the voices on offer",
    "store": "keep files: put, get, ls, rm, cp, mv",
    "cache": "look at the cache, or clear it",
    "usage": "see what calls used and cost, and what budgets have left",
    "config": "show, explain, change and check the configuration",
    "plugins": "list plugins, look into one, check one, begin one",
    "doctor": "find what is wrong with this installation",
    "demo": "see the main job, without a key or a service",
    "completion": "print the completion script of a shell",
}
"""Command -> what it does. Its module in this package bears its name."""

EXIT_CODES = {
    0: "done",
    1: "the provider refused or failed",
    2: "the command line or the request is not acceptable; nothing was sent",
    3: "the configuration has a fault",
    4: "no key, or one that is not accepted",
    5: "a budget does not allow the call",
    6: "a plugin is missing, broken or contested",
    7: "the network failed, or the time was over",
    130: "interrupted with Ctrl-C",
}

_VALUED = ("--profile", "--config")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the width without importing shutil, which argparse would do for every single argument."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=_width())


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the `UsageError` for *message*."""
        from llmcore.cli.misuse import usage_error

        raise usage_error(self, message)


def top() -> Parser:
    """Return the parser of what stands before the command."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{told}" for name, told in COMMANDS.items())
    codes = "\n".join(f"  {code:<{width}}{told}" for code, told in EXIT_CODES.items())
    parser = Parser(
        prog="llmcore",
        usage="llmcore [OPTION...] COMMAND ...",
        description=f"Ask language models, through whichever backend the configuration names.\n\ncommands:\n{commands}",
        epilog=f"exit codes:\n{codes}\n\n"
        "`llmcore COMMAND --help` tells more; `llmcore plugins` lists what plugins add.",
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    common(parser)
    return parser


def of(name: str) -> Parser:
    """Return the parser of the command *name*; its module says what it takes."""
    parser = Parser(prog=f"llmcore {name}", description=_sentence(COMMANDS[name]))
    import_module(f"llmcore.cli.{name}").configure(parser)
    common(parser)
    return parser


def common(parser: argparse.ArgumentParser) -> None:
    """Add the options that stand before a command or after it."""
    group = parser.add_argument_group("for every command")
    unset: Any = argparse.SUPPRESS  # else a default behind the command would undo what stands before it
    group.add_argument("--json", action="store_true", help="print JSON, errors too", default=unset)
    group.add_argument("--no-color", action="store_true", help="no colour (as NO_COLOR=1)", default=unset)
    group.add_argument("--profile", metavar="NAME", help="use [profiles.NAME]", default=unset)
    group.add_argument("--config", metavar="FILE", help="a file in place of llmcore.toml", default=unset)


def defaults() -> argparse.Namespace:
    """Return what holds where no common option is given."""
    return argparse.Namespace(version=False, json=False, no_color=False, profile=None, config=None)


def actions(parser: argparse.ArgumentParser) -> Callable[[str, str, Callable[..., Any]], Parser]:
    """Return a function that gives *parser* an action (name, what it does, function) and returns its parser."""
    kinds = parser.add_subparsers(title="actions", metavar="ACTION", parser_class=Parser)

    def add(name: str, told: str, run: Callable[..., Any]) -> Parser:
        action: Parser = kinds.add_parser(name, help=told, description=_sentence(told))
        action.set_defaults(run=run)
        common(action)
        return action

    return add


def split(arguments: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Return what stands before the command, the command, and what stands behind it."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in _VALUED else 1
    if at >= len(arguments):
        return arguments, None, []
    return arguments[:at], arguments[at], arguments[at + 1 :]


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal():
        return max(40, int(columns) - 2)
    try:
        return max(40, min(os.get_terminal_size().columns, 100) - 2)
    except OSError:
        return 78


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
