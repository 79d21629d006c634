"""The table of commands and their parsers. A parser is made when its command runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from llmcore.cli.streams import get_stdout

__all__ = [
    "COMMANDS",
    "EXIT_CODES",
    "Parser",
    "make_action_adder",
    "make_defaults",
    "make_parser",
    "make_top_parser",
    "split_arguments",
]

COMMANDS = {
    "ask": "ask a language model once",
    "chat": "hold a conversation",
    "templates": "list, show and remove the prompts that `ask --save` stored",
    "batch": "run a file of prompts, and resume it",
    "embed": "print the vectors of texts",
    "count": "count tokens, offline",
    "models": "list the models of a provider",
    "say": "speak a text into a file or through the speaker",
    "voices": "list and search voices",
    "store": "store files: put, get, ls, rm, cp, mv",
    "cache": "show or clear the cache",
    "logs": "list and search the log of prompts and answers",
    "usage": "show usage and cost of calls, and what is left of budgets",
    "config": "show, explain, change and check the configuration",
    "plugins": "list, inspect, check and create plugins",
    "doctor": "find faults of this installation",
    "explain": "explain an error code",
    "demo": "show the main features, without a key or a service",
    "completion": "print a completion script for a shell",
}
"""Command -> help text. The module of a command has the same name."""

EXIT_CODES = {
    0: "done",
    1: "the provider refused or failed, or `usage reconcile` cannot explain a part of the bill",
    2: "the command line or the request is invalid; nothing was sent",
    3: "the configuration has a fault",
    4: "the key is missing or was rejected",
    5: "a budget does not allow the call",
    6: "a plugin is missing, broken or in conflict",
    7: "the network failed, or the timeout expired",
    130: "interrupted with Ctrl-C",
}
"""Exit code -> its meaning. `llmcore --help` shows this table."""

_OPTIONS_WITH_VALUE = ("--profile", "--config")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """A formatter that does not import shutil. Argparse imports shutil to compute the width of the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=_get_width())


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)
        self._given: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse *args*, all of which must be known.

        argparse would let the command's parser report the unknown arguments of an action such as `store put`. Here
        the action's own parser reports them, so the error shows the action's options.

        Raises:
            UsageError: An argument is unknown or invalid.
        """
        self._given = list(args or ())
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, []

    def print_help(self, file: Any = None) -> None:
        """Print the help to stdout."""
        out = file or get_stdout()
        out.write(self.format_help())  # `super().print_help` would ignore a write error
        out.flush()

    def error(self, message: str) -> NoReturn:
        """Raise the `UsageError` for *message*."""
        from llmcore.cli.command_errors import make_usage_error

        raise make_usage_error(self, message, self._given)


def make_top_parser() -> Parser:
    """Return the parser of the arguments before the command."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{help_text}" for name, help_text in COMMANDS.items())
    codes = "\n".join(f"  {code:<{width}}{help_text}" for code, help_text in EXIT_CODES.items())
    parser = Parser(
        prog="llmcore",
        usage="llmcore [OPTION...] COMMAND ...",
        description=f"Ask language models through the configured backend.\n\ncommands:\n{commands}",
        epilog=f"exit codes:\n{codes}\n\n"
        "`llmcore COMMAND --help` shows the arguments of a command; `llmcore plugins` lists the commands of plugins.",
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    _add_common_options(parser)
    return parser


def make_parser(name: str) -> Parser:
    """Return the parser of the command *name*. The module of the command adds the arguments."""
    parser = Parser(prog=f"llmcore {name}", description=_format_sentence(COMMANDS[name]))
    import_module(f"llmcore.cli.{name}").configure(parser)
    _add_common_options(parser)
    return parser


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are accepted before and after a command."""
    group = parser.add_argument_group("for every command")
    # These options have no default: a default of the command's parser would overwrite a value given before the command.
    unset: Any = argparse.SUPPRESS
    group.add_argument("--json", action="store_true", help="print JSON, also for errors", default=unset)
    group.add_argument(
        "--no-color", action="store_true", help="print without colour, as with NO_COLOR=1", default=unset
    )
    group.add_argument("--profile", metavar="NAME", help="use [profiles.NAME]", default=unset)
    group.add_argument("--config", metavar="FILE", help="use FILE in place of llmcore.toml", default=unset)


def make_defaults() -> argparse.Namespace:
    """Return the values of the common options that are not given."""
    return argparse.Namespace(version=False, json=False, no_color=False, profile=None, config=None)


def make_action_adder(parser: argparse.ArgumentParser) -> Callable[[str, str, Callable[..., Any]], Parser]:
    """Return a function that adds an action (name, help text, function) to *parser* and returns a parser for it."""
    kinds = parser.add_subparsers(title="actions", metavar="ACTION", parser_class=Parser)

    def add(name: str, help_text: str, run: Callable[..., Any]) -> Parser:
        action: Parser = kinds.add_parser(name, help=help_text, description=_format_sentence(help_text))
        action.set_defaults(run=run)
        _add_common_options(action)
        return action

    return add


def split_arguments(arguments: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Split *arguments* into the arguments before the command, the command, and the arguments after it."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in _OPTIONS_WITH_VALUE else 1
    if at >= len(arguments):
        return arguments, None, []
    return arguments[:at], arguments[at], arguments[at + 1 :]


def _get_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal():
        return max(40, int(columns) - 2)
    try:
        return max(40, min(os.get_terminal_size(get_stdout().fileno()).columns, 100) - 2)
    except (OSError, ValueError):
        return 78


def _format_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
