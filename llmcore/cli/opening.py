"""What commands share: the opened Core, texts from stdin and files, and values given as NAME=VALUE."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcore.cli.misuse import UsageError

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["file_bytes", "named_values", "opened", "prompt_text", "seconds_of", "stdin_text", "utf8"]


def opened(args: argparse.Namespace) -> Core:
    """Return the Core as the configuration and the common options say."""
    import logging

    _import_msgspec()
    from llmcore.core import load

    heard = logging.StreamHandler(sys.stderr)
    heard.setFormatter(logging.Formatter("warning: %(message)s"))
    heard.setLevel(logging.WARNING)
    logging.getLogger("llmcore").addHandler(heard)
    return load(args.config, profile=args.profile)


def _import_msgspec() -> None:
    """Import msgspec as it is where typing_extensions is not installed; others may import that later as ever.

    msgspec takes two functions from it, and from `typing`, which has both, where it is absent. Importing it,
    with inspect, costs as much as Python's own start.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    absent: Any = None
    sys.modules["typing_extensions"] = absent
    try:
        import msgspec  # noqa: F401 - for its being there
    finally:
        del sys.modules["typing_extensions"]


def prompt_text(words: Sequence[str], command: str) -> str:
    """Return the words as one text, stdin in the place of `-`; without words, all of stdin.

    Raises:
        UsageError: There is nothing: no word, and nobody has piped anything in.
    """
    if not words:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "there is nothing to read",
                expected="a text, or a text piped in",
                fix=f'{command} "Write a haiku about rain"',
            )
        return stdin_text()
    if "-" not in words:
        return " ".join(words)
    at = words.index("-")
    parts = [" ".join(words[:at]), stdin_text(), " ".join(words[at + 1 :])]
    return "\n\n".join(part for part in parts if part)


def stdin_text() -> str:
    """Return all of stdin.

    Raises:
        UsageError: It is not UTF-8.
    """
    return utf8(sys.stdin.buffer.read(), "stdin")


def file_bytes(name: str) -> bytes:
    """Return what the file holds.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - a name as the shell gave it
            return file.read()
    except OSError as error:
        fault = f"the file {name} cannot be read: {error.strerror or type(error).__name__}"
    raise UsageError(fault, expected="a file that can be read")


def utf8(data: bytes, name: str) -> str:
    """Return *data*, which came from *name*, as text.

    Raises:
        UsageError: It is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start}"
    raise UsageError(fault, expected="text in UTF-8")


def named_values(given: Sequence[str], option: str, example: str = "temperature=0.2") -> dict[str, Any]:
    """Return the values of NAME=VALUE; a value is JSON or TOML where it reads as that, and else text.

    Args:
        given: As on the command line.
        option: What they followed.
        example: One that the command takes, for whoever forgot the value.

    Raises:
        UsageError: There is no name, or no value.
    """
    values: dict[str, Any] = {}
    if not given:
        return values
    import json

    from llmcore.config.layers import scalar

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
            values[name.strip()] = scalar(text)
    return values


def seconds_of(text: str) -> float:
    """Return the seconds that *text*, such as "30s", means; for argparse.

    Raises:
        argparse.ArgumentTypeError: It means none, or no time at all.
    """
    from llmcore.units import Duration

    try:
        seconds = float(Duration.parse(text))
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"`{text}` is not a time; expected is {Duration.expected}")
    return seconds
