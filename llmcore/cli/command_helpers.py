"""Helpers of all commands: open the Core, read stdin and files, parse NAME=VALUE."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcore.cli.command_errors import UsageError
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    from logging import Logger

    from llmcore.config.dict_layer import DictLayer
    from llmcore.core import Core

__all__ = [
    "decode_utf8",
    "make_read_error",
    "open_core",
    "parse_seconds",
    "parse_values",
    "read_file",
    "read_prompt",
    "read_stdin",
]


def open_core(args: argparse.Namespace, arguments: Mapping[str, Any] | DictLayer | None = None) -> Core:
    """Return the Core for the configuration, the common options and *arguments*; print warnings to stderr."""
    _import_msgspec()
    from llmcore.config.load import load_settings
    from llmcore.core import Core
    from llmcore.log import configure_at_first_message
    from llmcore.plugins import Catalogue

    configure_at_first_message(_print_warnings)
    return Core(load_settings(args.config, profile=args.profile, arguments=arguments), Catalogue())


def _print_warnings(logger: Logger) -> None:
    import logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)


def _import_msgspec() -> None:
    """Import msgspec without typing_extensions, which can still be imported later.

    If typing_extensions is missing, msgspec uses `typing`, which has the names that it needs. This is faster, because
    typing_extensions imports inspect, which takes as long as Python's own start.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    absent: Any = None
    sys.modules["typing_extensions"] = absent
    try:
        import msgspec  # noqa: F401 - later imports find it in sys.modules
    finally:
        del sys.modules["typing_extensions"]


def read_prompt(words: Sequence[str], command: str) -> str:
    """Return *words* as one text, with the text of stdin in place of `-`. Without words, return the text of stdin.

    Raises:
        UsageError: The command has no text, and stdin is a terminal.
    """
    if not words:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "the text is missing",
                expected="a text as argument, or piped to stdin",
                fix=f'{command} "Write a haiku about rain"',
            )
        return read_stdin()
    if "-" not in words:
        return " ".join(words)
    at = words.index("-")
    parts = [" ".join(words[:at]), read_stdin(), " ".join(words[at + 1 :])]
    return "\n\n".join(part for part in parts if part)


def read_stdin() -> str:
    """Return all of stdin.

    Raises:
        UsageError: The bytes are not UTF-8.
    """
    return decode_utf8(sys.stdin.buffer.read(), "stdin")


def read_file(name: str) -> bytes:
    """Return the content of the file.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - open the name exactly as the shell passed it
            return file.read()
    except OSError as error:
        raise_unchained(make_read_error(name, error))


def make_read_error(name: str, error: OSError) -> UsageError:
    """Return the error for the file *name*. The fix lists the nearest folder that exists."""
    from pathlib import Path
    from shlex import quote

    folder = next((each for each in Path(name).parents if each.is_dir()), Path())
    return UsageError(
        f"the file {name} cannot be read: {error.strerror or type(error).__name__}",
        where=name,
        expected="a file that can be read",
        fix=f"ls -l {quote(str(folder))}",
    )


def decode_utf8(data: bytes, name: str) -> str:
    """Decode *data*. Errors show *name* as the source of the data.

    Raises:
        UsageError: The bytes are not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise_unchained(
            UsageError(
                f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start}",
                expected="text in UTF-8",
            )
        )


def parse_values(given: Sequence[str], option: str, example: str = "temperature=0.2") -> dict[str, Any]:
    """Parse NAME=VALUE arguments. A value that is valid JSON or TOML is parsed; any other value is text.

    Args:
        given: The arguments.
        option: The name of the option, for errors.
        example: A valid argument, for errors.

    Raises:
        UsageError: A name or `=` is missing.
    """
    values: dict[str, Any] = {}
    if not given:
        return values
    import json

    from llmcore.config.layers import parse_scalar

    for pair in given:
        name, equals, text = pair.partition("=")
        if not name.strip() or not equals:
            raise UsageError(
                f"`{pair}` is not NAME=VALUE",
                where=option,
                expected="NAME=VALUE",
                fix=f"{option} {example}",
            )
        try:
            values[name.strip()] = json.loads(text)
        except ValueError:
            values[name.strip()] = parse_scalar(text)
    return values


def parse_seconds(text: str) -> float:
    """Return the seconds in *text*, such as "30s"; for argparse.

    Raises:
        argparse.ArgumentTypeError: *text* is not a duration greater than 0.
    """
    from llmcore.units import Duration

    try:
        seconds = float(Duration.parse(text))
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(
            f"`{text}` is not a duration greater than 0; expected is {Duration.expected}"
        )
    return seconds
