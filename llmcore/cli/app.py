"""Find the command, run it, report errors, and return the exit code."""

from __future__ import annotations

import errno
import os
from typing import Any

from llmcore.cli import parser
from llmcore.cli.streams import count_lost_characters, get_stdout, give_stdout, prepare_encoding

__all__ = ["run"]

_INTERRUPTED = 130


def run(arguments: list[str]) -> int:
    """Run the command in *arguments* and return the exit code. Never raises."""
    prepare_encoding()
    try:
        code = _run_command(arguments)
        get_stdout().flush()
        _warn_of_lost_characters()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as stop:  # raised by argparse after --help
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:  # noqa: BLE001 - every error is reported to the user
        fault = _find_stdout_fault(error) if isinstance(error, OSError) and not _is_ours(error) else None
        if fault is None:
            return _report(error, arguments)
        _discard_stdout()
        return 0 if _has_reader_left(fault) else _report(_make_stdout_error(fault), arguments)
    return code


def _run_command(arguments: list[str]) -> int:
    before, name, after = parser.split_arguments(arguments)
    given = parser.make_defaults()
    if before or name is None:
        given = parser.make_top_parser().parse_args(before, given)
    if given.version:
        from llmcore import __version__

        print(f"llmcore {__version__}", file=get_stdout())
        return 0
    if name is None:
        parser.make_top_parser().print_help()
        return 0
    if name in parser.COMMANDS:
        namespace = parser.make_parser(name).parse_args(after, given)
        return int(namespace.run(namespace) or 0)
    return _run_plugin_command(name, before, after)


def _run_plugin_command(name: str, before: list[str], after: list[str]) -> int:
    """Call the command *name* of a plugin."""
    from llmcore.errors import PluginNotFound
    from llmcore.plugins import Catalogue

    catalogue = Catalogue(commands=parser.COMMANDS)
    try:
        command: Any = catalogue.load_command(name)
    except PluginNotFound as error:
        from llmcore.cli.command_errors import make_command_error
        from llmcore.support.errors import raise_unchained

        names = [*parser.COMMANDS, *catalogue.list_names("commands")]
        raise_unchained(make_command_error(name, after, names, error))
    with give_stdout():  # a command of a plugin may write to stdout
        result = command([*before, *after])
    return result if isinstance(result, int) else 0


def _report(error: Exception, arguments: list[str]) -> int:
    from llmcore.cli.report import report
    from llmcore.errors import LLMCoreError, StorageKeyError

    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    fix = getattr(error, "fix", None)
    if fix and fix.startswith("profile="):
        fix = f"--profile {fix.removeprefix('profile=').strip(chr(34))}"
    if fix and fix.startswith('load("'):
        fix = f"--config {fix.removeprefix('load(').strip(chr(34) + ')')}"
    if isinstance(error, StorageKeyError) and "store" in given:
        from llmcore.cli.store import make_key_fix

        error.fix = make_key_fix(error, arguments) or fix
    elif isinstance(error, LLMCoreError) and fix and fix.startswith("-"):
        from llmcore.cli.command_errors import render_command

        error.fix = render_command(fix, *parser.split_arguments(arguments))
    elif isinstance(error, LLMCoreError) and fix and fix.startswith("llmcore "):
        from llmcore.cli.command_errors import keep_common_options

        error.fix = keep_common_options(fix, given)
    return report(error, json="--json" in given, no_color="--no-color" in given)


def _warn_of_lost_characters() -> None:
    if lost := count_lost_characters():
        from llmcore.cli.show import note

        note(
            f"warning: stdout is {get_stdout().encoding}, which cannot encode {lost} of the characters: each was replaced by ?; "
            "set PYTHONIOENCODING=utf-8 to print them"
        )


def _is_ours(error: OSError) -> bool:
    """Return whether *error* is an error of llmcore, such as StorageNotFound, and not a fault of stdout."""
    from llmcore.errors import LLMCoreError

    return isinstance(error, LLMCoreError)


def _find_stdout_fault(error: OSError) -> OSError | ValueError | None:
    """Return the error that makes stdout unwritable; None if stdout works.

    A broken pipe comes from stdout. A full disk comes from stdout if *error* names no file, because an unbuffered
    stdout fails when it is written. In every other case, flush stdout to find out whether it works.
    """
    if isinstance(error, BrokenPipeError) or (error.filename is None and error.errno == errno.ENOSPC):
        return error
    try:
        get_stdout().flush()
    except (OSError, ValueError) as again:
        return again
    return None


def _has_reader_left(fault: OSError | ValueError) -> bool:
    """Return whether the reader of stdout has closed the pipe, as `| head` does. Windows then reports EINVAL."""
    return not isinstance(fault, OSError) or fault.errno in (errno.EPIPE, errno.EINVAL)


def _discard_stdout() -> None:
    """Redirect stdout to the null device, because Python's flush at exit would report the error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), get_stdout().fileno())


def _make_stdout_error(fault: OSError | ValueError) -> Exception:
    from llmcore.cli.command_errors import UsageError

    reason = getattr(fault, "strerror", None) or type(fault).__name__
    return UsageError(f"stdout cannot be written: {reason}", expected="a writable file, pipe or terminal")
