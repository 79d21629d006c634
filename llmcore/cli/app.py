"""From the arguments of a process to its exit code: finds the command, runs it, and tells what went wrong."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from llmcore.cli import parser

__all__ = ["run"]

_INTERRUPTED = 130


def run(arguments: list[str]) -> int:
    """Carry out *arguments* and return the exit code. Nothing is raised."""
    _encodable()
    try:
        code = _called(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as stop:  # argparse, after --help
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:  # noqa: BLE001 - the end of the line: whatever it is, a person reads it
        fault = _fault_of_stdout(error) if isinstance(error, OSError) else None
        if fault is None:
            return _told(error, arguments)
        _forsake_stdout()
        return 0 if _reader_left(fault) else _told(_unwritable(fault), arguments)
    return code


def _called(arguments: list[str]) -> int:
    before, name, after = parser.split(arguments)
    given = parser.defaults()
    if before or name is None:
        given = parser.top().parse_args(before, given)
    if given.version:
        from llmcore import __version__

        print(f"llmcore {__version__}")
        return 0
    if name is None:
        parser.top().print_help()
        return 0
    if name in parser.COMMANDS:
        namespace = parser.of(name).parse_args(after, given)
        return int(namespace.run(namespace) or 0)
    return _foreign(name, after)


def _foreign(name: str, arguments: list[str]) -> int:
    """Call the command *name* of a plugin."""
    from llmcore.errors import PluginNotFound
    from llmcore.plugins import Catalogue

    catalogue = Catalogue(commands=parser.COMMANDS)
    try:
        command: Any = catalogue.command(name)
    except PluginNotFound as error:
        from llmcore.cli.misuse import no_command

        raise no_command(name, [*parser.COMMANDS, *catalogue.names("commands")], error) from None
    result = command(arguments)
    return result if isinstance(result, int) else 0


def _told(error: Exception, arguments: list[str]) -> int:
    from llmcore.cli.report import report

    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return report(error, json="--json" in given, no_color="--no-color" in given)


def _encodable() -> None:
    """Let a terminal that cannot show a character show something in its place; never fail over one."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _fault_of_stdout(error: OSError) -> OSError | ValueError | None:
    """Return why nothing more can be written to stdout, if so; *error* says it where stdout has no buffer.

    A pipe whose reader has left is one, under whatever name it was written to.
    """
    if isinstance(error, BrokenPipeError) or (error.filename is None and error.errno == errno.ENOSPC):
        return error
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as again:
        return again
    return None


def _reader_left(fault: OSError | ValueError) -> bool:
    """Return whether *fault* says that nobody reads any more, as `| head`, which has what it wanted.

    Windows tells it as EINVAL.
    """
    return not isinstance(fault, OSError) or fault.errno in (errno.EPIPE, errno.EINVAL)


def _forsake_stdout() -> None:
    """Let what is still to be written go nowhere: Python's own flush at exit must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(fault: OSError | ValueError) -> Exception:
    from llmcore.cli.misuse import UsageError

    said = getattr(fault, "strerror", None) or type(fault).__name__
    return UsageError(f"stdout cannot be written: {said}", expected="a file, pipe or terminal that takes it")
