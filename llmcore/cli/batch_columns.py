"""Check, before anything is sent, that a table has the columns that `llmcore batch run` needs for prompts."""

from __future__ import annotations

import argparse
import csv
import shlex
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from string import Formatter
from typing import Final

from llmcore.cli.batch_files import SEPARATED, find_format, is_utf8, read_table, require_pyarrow
from llmcore.cli.command_errors import UsageError

__all__ = ["check_columns"]

_USUAL: Final = ("text", "question", "input", "query", "content", "message", "body", "review", "description")
"""Usual names of the column that contains the prompt, the likeliest first."""


def check_columns(args: argparse.Namespace, render: Callable[..., str]) -> None:
    """Raise `UsageError` if a table lacks a column that --prompt or --column names.

    Without these options, the table must have a column `prompt` or `messages`.

    Args:
        args: The arguments of the command.
        render: Returns the command line; keyword arguments replace arguments of the command.
    """
    names = _read_names(args.input)
    if not names:
        return
    found = ", ".join(names)
    if args.column is not None:
        if args.column not in names:
            near = _find_nearest(args.column, names)
            raise UsageError(
                f"{args.input} has no column `{args.column}`",
                where=f"--column {args.column}",
                expected=f"one of {found}",
                fix=render(column=near),
            )
    elif args.prompt is not None:
        for name in _iterate_fields(args.prompt):
            if name not in names:
                near = _find_nearest(name, names)
                raise UsageError(
                    f"{args.input} has no column `{name}`",
                    where=f"--prompt {args.prompt}",
                    expected=f"one of {found}",
                    fix=render(prompt=args.prompt.replace(f"{{{name}", f"{{{near}")),
                )
    elif not {"prompt", "messages"} & set(names):
        near = _find_nearest("prompt", names)
        raise UsageError(
            f"{args.input} has no column `prompt`",
            where=f"{args.input}:1",
            expected=f'--column NAME, or --prompt "... {{NAME}} ..."; the columns are {found}',
            fix=render(column=near),
        )


def _read_names(path: str) -> list[str]:
    """Return the names of the columns of a table; an empty list for other files, and for a file that cannot be read."""
    kind = "" if path == "-" else find_format(path)
    if kind == "parquet":
        require_pyarrow(path)
        import pyarrow as pa
        from pyarrow import parquet

        try:
            return list(parquet.read_schema(path).names)
        except (pa.ArrowInvalid, OSError):
            return []
    if kind not in SEPARATED:
        return []
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # noqa: PTH123 - as in `read_rows`
            names: list[str] = next(read_table(file, kind), [])
    except (OSError, csv.Error):
        return []
    if not all(is_utf8(name) and "\0" not in name for name in names):
        raise UsageError(
            f"the header of {path} is not UTF-8",
            where=f"{path}:1",
            expected="a file in UTF-8",
            fix=f"iconv -f {_guess_encoding(path)} -t UTF-8 {shlex.quote(path)} > utf8.{kind}",
        )
    return names


def _guess_encoding(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - as read_rows
        return "UTF-16" if b"\0" in file.read(100) else "WINDOWS-1252"


def _iterate_fields(template: str) -> Iterator[str]:
    """Yield the names of the fields of *template*. Yield none if the template is malformed."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:  # the result of each row reports this error
        return
    for _, field, _, _ in parts:
        if field:
            yield field.partition(".")[0].partition("[")[0]


def _find_nearest(name: str, names: list[str]) -> str:
    """Return the column of *names* that the user probably meant by *name*."""
    lowered = {each.casefold(): each for each in reversed(names)}
    near = get_close_matches(name.casefold(), lowered, n=1)
    usual = [each for each in _USUAL if each in lowered]
    others = [each for each in lowered if each != "id"]
    return lowered[(near or usual or others[-1:] or list(lowered))[0]]
