"""Errors of the command line: an unknown command or option, an invalid argument."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from llmcore.errors import LLMCoreError, PluginNotFound

__all__ = [
    "UsageError",
    "keep_common_options",
    "make_command_error",
    "make_usage_error",
    "render_command",
]

_CHOICE = r"argument (?:[^:]+): invalid choice: '([^']*)' \(choose from (.*)\)"
"""Matches a message of argparse about a value that is not one of the choices: the value, and the choices."""
_MIN_SIMILARITY = 0.6
"""A name counts as a misspelling of another name if their similarity, from 0 to 1, is at least this."""
_PREFIX = 3
"""The minimum number of letters that count as the beginning of an option."""
_WITH_EXPECTED = r"(.*); expected is (.*)"
"""Matches a message that contains the expected value; see `parse_seconds`."""
_A_DURATION = "30s"
"""The duration that a fix shows."""
_CONTEXT = ("--config", "--profile")
"""The options that choose the configuration of a command."""
_ALIASES = {
    "--no-stream": ("--stream", "--no-stream"),
    "--format": ("--format", "-f"),
    "--voice": ("--voice", "-v"),
    "-m": ("-m", "--model"),
    "-a": ("-a", "--attach"),
    "-t": ("-t", "--template"),
}
"""The long and the short spelling of options that a fix may contain."""
_REPEATABLE = ("-p", "-a", "--var")
_COMMON = ("-h", "--json", "--no-color", "--profile NAME", "--config FILE")
"""The options that every command has. The usage line in an error does not show them."""


class UsageError(LLMCoreError):
    """The command line is invalid; nothing was done."""

    code = "LC001"


def make_usage_error(parser: argparse.ArgumentParser, message: str, given: Sequence[str] = ()) -> UsageError:
    """Return the error for a *message* of argparse about the arguments *given* to *parser*.

    If an option is misspelt, the error names the option, and *message* is ignored. For argparse, the value of such an
    option is a surplus argument, and *message* is about this value.
    """
    import re

    expected = " ".join(parser.format_usage().removeprefix("usage: ").split())
    for common in _COMMON:
        expected = expected.replace(f" [{common}]", "")
    unknown = _find_unknown_option(parser, given)
    if unknown is None and message.startswith("unrecognized arguments: "):
        unknown = message.partition(": ")[2].split()[0]
    if unknown is not None:
        action, near = _find_nearest_option(parser, unknown.partition("=")[0])
        fix = (
            _render_with(f"{parser.prog}{action}", given, unknown, near) if near else f"{parser.prog} --help"
        )
        return UsageError(
            f"{parser.prog} does not take {unknown}",
            where=unknown,
            expected=expected,
            suggestion=near,
            fix=fix,
        )
    option = re.match(r"argument (-[^:/]*)", message)
    where = option[1] if option else None
    if choice := re.fullmatch(_CHOICE, message):
        names = [name.strip("' ") for name in choice[2].split(",")]
        near = _find_nearest(choice[1], names)
        return UsageError(
            f"`{parser.prog}` does not know `{choice[1]}`",
            where=where or choice[1],
            expected=", ".join(names),
            suggestion=near,
            fix=_render_with(parser.prog, given, choice[1], near) if near else f"{parser.prog} --help",
        )
    fix = f"{parser.prog} --help"
    # The message for an invalid duration already says what is expected.
    if stated := re.fullmatch(_WITH_EXPECTED, message):
        message, expected = stated[1], stated[2]
        if wrong := re.search(r"`(.*)`", message):
            fix = _render_with(parser.prog, given, wrong[1], _A_DURATION)
    return UsageError(message, where=where, expected=expected, fix=fix)


def make_command_error(
    name: str, arguments: Sequence[str], names: Sequence[str], missing: PluginNotFound
) -> UsageError:
    """Return the error for the unknown command *name*, called with *arguments*."""
    import shlex

    install = missing.fix if missing.fix and missing.fix.startswith("pip ") else None
    nearest = None if install else _find_nearest(name, names)
    help_or_version = f"llmcore --{name}" if name == "version" else "llmcore --help"
    return UsageError(
        f"no command `{name}`",
        code="LC002",
        where=f"COMMAND {name}",
        expected=", ".join(names),
        suggestion=nearest,
        notes=missing.notes,
        fix=install or (shlex.join(["llmcore", nearest, *arguments]) if nearest else help_or_version),
    )


def render_command(option: str, before: Sequence[str], name: str | None, after: Sequence[str]) -> str:
    """Return the command line with *option*, such as `-p max_tokens=1000`, in place of the option that *option* corrects.

    If *after* contains no such option, *option* becomes the first argument of the command.

    Args:
        option: The correct option. In `-p NAME=VALUE`, VALUE is replaced by the value of the misspelt parameter.
        before: The arguments before the command.
        name: The command.
        after: The arguments after the command.
    """
    import shlex

    flag, _, value = option.partition(" ")
    kept: list[list[str]] = []
    for words in (list(before), list(after)):
        place = 0
        at = 0 if value else len(words)
        if not value:
            words[:] = [word for word in words if word not in _ALIASES.get(flag, (flag,))]
        while at < len(words) - 1:
            if words[at] in _ALIASES.get(flag, (flag,)) and (
                flag not in _REPEATABLE or _is_replacement(value, words[at + 1])
            ):
                given = words[at + 1].partition("=")[2]
                value = value.replace("=VALUE", f"={given}") if given else value
                del words[at : at + 2]
                place = at
            else:
                at += 1
        kept.append(words)
    added = [flag, value] if value else [flag]
    first, rest = kept[1][:place], kept[1][place:]
    return f"llmcore {shlex.join([*kept[0], name or 'ask', *first, *added, *rest])}"


def keep_common_options(fix: str, given: Sequence[str]) -> str:
    """Return *fix*, one or several commands, with the `--config` and the `--profile` of the arguments *given*.

    A `config set` command gets no profile, because the command changes the file itself.
    """
    import shlex

    kept: dict[str, str] = {}
    for at, word in enumerate(given):
        option, equals, value = word.partition("=")
        if option in _CONTEXT and (equals or at + 1 < len(given)):
            kept[option] = value if equals else given[at + 1]
    commands = []
    for command in fix.split(" && "):
        missing = {
            option: value
            for option, value in kept.items()
            if option not in command and not (option == "--profile" and "config" in command.split()[1:4])
        }
        words = "".join(f" {option} {shlex.quote(value)}" for option, value in missing.items())
        commands.append(
            command.replace("llmcore", f"llmcore{words}", 1) if command.startswith("llmcore ") else command
        )
    return " && ".join(commands)


def _is_replacement(option: str, given: str) -> bool:
    """Return whether *given*, a NAME=VALUE, is the parameter of *option* or a misspelling of it."""
    from difflib import SequenceMatcher

    names = option.partition("=")[0].removeprefix("extra_body."), given.partition("=")[0]
    return SequenceMatcher(None, *names).ratio() >= _MIN_SIMILARITY


def _find_unknown_option(parser: argparse.ArgumentParser, given: Sequence[str]) -> str | None:
    """Return the first of *given* that looks like a long option but is not an option of *parser*."""
    options = _list_options(parser)
    actions = _get_actions(parser)
    for word in given:
        # the parser of an action reports unknown options itself
        if word == "--" or (actions and not word.startswith("-")):
            return None
        if word.startswith("--") and word.partition("=")[0] not in options:
            return word
    return None


def _find_nearest_option(parser: argparse.ArgumentParser, unknown: str) -> tuple[str, str | None]:
    """Return the action and the option that *unknown* misspells.

    The action begins with a space, such as " run"; it is empty for an option of *parser* itself. For a parameter of
    models, the option is `-p NAME=VALUE`. If no option is similar, the option is None.
    """
    options = dict.fromkeys(_list_options(parser), "")
    for action, its in _get_actions(parser).items():
        options = dict.fromkeys(_list_options(its), f" {action}") | options
    parameters: dict[str, str] = {}
    if "--system" in options:  # the command calls a language model; `say` has the parameters of voices
        unknown = unknown.replace("_", "-")
        parameters = {f"--{name.replace('_', '-')}": f"-p {name}=VALUE" for name in _get_parameters()}
    # The dashes are not compared: they would make `--user` similar to `--seed`.
    names = {each.lstrip("-"): each for each in reversed([*options, *parameters])}
    bare = unknown.lstrip("-")
    longer = [each for each in names if each.startswith(bare)] if len(bare) >= _PREFIX else []
    near = names.get(longer[-1] if longer else _find_nearest(bare, list(names)) or "", "")
    return options.get(near, ""), parameters.get(near, near) or None


def _get_actions(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    actions = parser._actions  # noqa: SLF001 - argparse has no public name for this attribute
    found = next((each for each in actions if isinstance(each, argparse._SubParsersAction)), None)  # noqa: SLF001 - argparse has no public name for this attribute
    return {} if found is None else found.choices


def _list_options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001 - argparse has no public name for this attribute


def _render_with(prog: str, given: Sequence[str], wrong: str, right: str) -> str:
    """Return the command line with *right* in the place of *wrong*."""
    import shlex

    words = list(given)
    at = words.index(wrong) if wrong in words else -1
    if at < 0:
        return f"{prog} {right}"
    flag, _, parameter = right.removesuffix("=VALUE").partition(" ")
    _, equals, value = wrong.partition("=")
    if parameter:  # `-p NAME=VALUE` replaces an option with a value
        if not equals and at + 1 < len(words):
            value = words.pop(at + 1)
        words[at : at + 1] = [flag, f"{parameter}={value or 'VALUE'}"]
    else:
        words[at] = f"{right}={value}" if equals else right
    return f"{prog} {shlex.join(words)}"


def _get_parameters() -> frozenset[str]:
    from llmcore.hookspecs import COMMON_PARAMETERS

    return COMMON_PARAMETERS


def _find_nearest(name: str, names: Sequence[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, names, n=1, cutoff=0.6)), None)
