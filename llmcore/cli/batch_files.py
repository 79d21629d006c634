"""The input of `llmcore batch run`: JSON lines, CSV, TSV, Parquet and plain lines, read one by one."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, Final, TextIO

from llmcore.cli.command_errors import UsageError
from llmcore.errors import BadRequest
from llmcore.support.errors import raise_unchained

__all__ = [
    "SEPARATED",
    "Row",
    "check_input",
    "count_rows",
    "find_format",
    "is_utf8",
    "make_prompt",
    "read_rows",
    "read_table",
    "require_pyarrow",
    "stat_file",
]

_FORMATS: Final = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".tsv": "tsv", ".txt": "txt"
}  # fmt: skip
"""File ending -> format."""
SEPARATED: Final = frozenset({"csv", "tsv"})
"""The formats of tables of text, with quotes around fields that contain a separator, a quote or a line break."""

Row = dict[str, Any] | BadRequest
"""A line of the input as a dict, or the error of a line that cannot be read."""

_MOST_COUNTED: Final = 100_000_000
"""The rows of a CSV file are counted exactly if the file has at most this size in bytes. To count them takes a second."""
_SEPARATORS: Final = ";\t"
"""The separators to try if the header of a .csv file has no comma. Spreadsheet programs use them in many countries."""


def find_format(path: str, given: str | None = None) -> str:
    """Return the format of the file *path*; "-" (stdin or stdout) has JSON lines.

    Raises:
        UsageError: The ending is unknown.
    """
    if given is not None:
        return given
    if path == "-":
        return "jsonl"
    ending = Path(path).suffix.lower()
    if ending in _FORMATS:
        return _FORMATS[ending]
    raise UsageError(
        f"the format of {path} is unknown",
        where=path,
        expected=f"a file that ends with {', '.join(_FORMATS)}",
        fix="llmcore batch run prompts.jsonl -o answers.jsonl",
    )


def read_rows(path: str, kind: str) -> Iterator[Row]:
    """Yield the rows of the file *path*, each as a dict. A plain line becomes a dict with the field `prompt`.

    Raises:
        UsageError: The file cannot be read.
    """
    if kind == "parquet":
        yield from _read_parquet(path)
        return
    try:
        file = open(  # noqa: SIM115 - the `with` block below closes the file
            0 if path == "-" else path,
            encoding="utf-8-sig",
            errors="surrogateescape",
            newline="",
            closefd=path != "-",
        )
    except OSError as error:
        raise_unchained(
            UsageError(
                f"{path} cannot be read: {error.strerror}", where=path, expected="a file that you can read"
            )
        )
    with file:
        if kind in SEPARATED:
            yield from _read_separated(file, path, kind)
        else:
            yield from {"jsonl": _read_jsonl, "txt": _read_lines}[kind](file, path)


def count_rows(path: str, kind: str) -> int | None:
    """Return the number of rows of a file. In a large table, a line break within a field counts as a row.

    The result is None for stdin, for Parquet, and for a file that cannot be read.
    """
    if path == "-" or kind == "parquet":
        return None
    with suppress(OSError, csv.Error):
        if kind in SEPARATED and Path(path).stat().st_size <= _MOST_COUNTED:
            with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # noqa: PTH123 - as read_rows
                return max(0, sum(map(bool, read_table(file, kind))) - 1)
    lines, last = 0, b"\n"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as in `read_rows`
            while block := file.read(1 << 20):
                lines += block.count(b"\n")
                last = block
    except OSError:
        return None
    lines += not last.endswith(b"\n")
    return max(0, lines - (kind in SEPARATED))


def check_input(path: str) -> None:
    """Raise `UsageError` if the file *path* cannot be read."""
    if path == "-":
        return
    try:
        with open(path, "rb"):  # noqa: PTH123 - as read_rows
            return
    except OSError as error:
        reason = error.strerror
    with suppress(OSError):
        near = get_close_matches(Path(path).name, [each.name for each in Path(path).parent.iterdir()], n=1)
        raise UsageError(
            f"{path} cannot be read: {reason}",
            where=path,
            expected="a file that you can read",
            suggestion=str(Path(path).with_name(near[0])) if near else None,
        )
    raise UsageError(f"{path} cannot be read: {reason}", where=path, expected="a file that you can read")


def read_table(file: TextIO, kind: str) -> Any:
    """Return a `csv.reader` of *file* that begins with the header. The separator of "csv" is found in the header."""
    csv.field_size_limit(sys.maxsize)
    header = file.readline()
    separator = "\t" if kind == "tsv" else ","
    if kind == "csv" and separator not in header:
        separator = next((each for each in _SEPARATORS if each in header), separator)
    return csv.reader(chain((header,) if header else (), file), delimiter=separator)


def stat_file(path: str) -> tuple[int, ...] | None:
    """Return numbers that change whenever the file *path* changes; return None for stdin and for a missing file."""
    try:
        found = None if path == "-" else Path(path).stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def is_utf8(text: str) -> bool:
    """Return whether *text* was UTF-8 in the file: bytes that are not UTF-8 were decoded as lone surrogates."""
    return not any("\udc80" <= letter <= "\udcff" for letter in text) if not text.isascii() else True


def _read_jsonl(file: TextIO, path: str) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        reason = None if is_utf8(line) else "it is not UTF-8"
        row: Any = None
        try:
            row = json.loads(line) if reason is None else None
        except ValueError as error:
            reason = str(error)
        except RecursionError:
            reason = "it is nested too deeply"
        if reason is None and isinstance(row, str):
            row = {"prompt": row}
        if reason is None and not isinstance(row, dict):
            reason = f"a line must be a JSON object or text, got {type(row).__name__}"
        yield row if reason is None else _make_fault(path, number, reason)


def _read_separated(file: TextIO, path: str, kind: str) -> Iterator[Row]:
    reader = read_table(file, kind)
    names: list[str] = next(reader, [])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"{path} has several columns `{twice[0]}`",
            where=f"{path}:1",
            expected="a header with different names",
        )
    for row in reader:
        if not row:
            continue
        if not all(map(is_utf8, row)):
            yield _make_fault(path, reader.line_num, "it is not UTF-8")
        elif len(row) != len(names):
            yield _make_fault(
                path, reader.line_num, f"the row has {len(row)} fields, the header {len(names)}"
            )
        else:
            yield dict(zip(names, row, strict=True))


def _read_lines(file: TextIO, path: str) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        if not is_utf8(line):
            yield _make_fault(path, number, "it is not UTF-8")
        else:
            yield {"prompt": line.rstrip("\r\n")}


def _read_parquet(path: str) -> Iterator[Row]:
    require_pyarrow(path)
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise_unchained(UsageError(f"{path} cannot be read: {error}", where=path, expected="a Parquet file"))
    for part in file.iter_batches(1000):
        yield from part.to_pylist()


def require_pyarrow(where: str) -> None:
    """Raise `UsageError` if pyarrow is not installed. *where* is the file or option that needs it."""
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed", where=where, fix="pip install pyarrow"
        )


def _make_fault(path: str, line: int, reason: str) -> BadRequest:
    return BadRequest(f"the line cannot be read: {reason}", code="LC308", where=f"{path}:{line}")


def make_prompt(row: Row, template: str | None, column: str | None) -> Row:
    """Return *row* with a field `prompt`: *template* filled with the fields of *row*, or the value of *column*."""
    if isinstance(row, BadRequest) or (template is None and column is None):
        return row
    if column is not None:
        if column not in row:
            return BadRequest(
                f"the row has no column `{column}`", code="LC308", where="--column", expected=", ".join(row)
            )
        return {**row, "prompt": str(row[column])}
    try:
        return {**row, "prompt": (template or "").format_map(_Fields(row))}
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        reason = error.args[0] if error.args else type(error).__name__
    return BadRequest(
        f"--prompt cannot be filled in: {reason}",
        code="LC308",
        where="--prompt",
        expected=f"names of the row: {', '.join('{' + name + '}' for name in row)}",
    )


class _Fields(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise KeyError(f"the row has no field `{name}`")
