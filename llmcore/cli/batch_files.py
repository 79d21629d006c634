"""The files of `llmcore batch`: JSON lines, CSV, Parquet and plain lines, read one by one and written in the same order."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from llmcore.cli.misuse import UsageError
from llmcore.cli.streams import get_stdout
from llmcore.errors import BadRequest, LLMCoreError
from llmcore.llm.batch.items import BatchItem
from llmcore.support.errors import raise_unchained

__all__ = ["FORMATS", "Writer", "find_format", "make_prompt", "read_rows"]

FORMATS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "txt"}
"""The ending of a file -> its format."""

Row = dict[str, Any] | BadRequest
"""One line of the input, or what is wrong with it."""


def find_format(path: str, given: str | None = None) -> str:
    """Return the format of the file *path*; "-", stdin or stdout, has JSON lines.

    Raises:
        UsageError: The ending is unknown.
    """
    if given is not None:
        return given
    if path == "-":
        return "jsonl"
    ending = Path(path).suffix.lower()
    if ending in FORMATS:
        return FORMATS[ending]
    raise UsageError(
        f"the format of {path} is unknown",
        where=path,
        expected=f"a file that ends with {', '.join(FORMATS)}",
        fix="llmcore batch run prompts.jsonl -o answers.jsonl",
    )


def read_rows(path: str, kind: str) -> Iterator[Row]:
    """Yield the rows of the file *path*, each as a dict; of plain lines, with the field `prompt`.

    Raises:
        UsageError: The file cannot be read.
    """
    if kind == "parquet":
        yield from _read_parquet(path)
        return
    try:
        file = sys.stdin if path == "-" else Path(path).open(encoding="utf-8-sig", newline="")  # noqa: SIM115 - closed below
    except OSError as error:
        raise_unchained(
            UsageError(
                f"{path} cannot be read: {error.strerror}", where=path, expected="a file that you can read"
            )
        )
    with file:
        yield from {"csv": _read_csv, "jsonl": _read_jsonl, "txt": _read_lines}[kind](file, path)


def _read_jsonl(file: TextIO, path: str) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        reason = None
        try:
            row = json.loads(line)
        except ValueError as error:
            reason = str(error)
        except RecursionError:
            reason = "it is nested too deeply"
        if reason is None and isinstance(row, str):
            row = {"prompt": row}
        if reason is None and not isinstance(row, dict):
            reason = f"a line must be a JSON object or text, got {type(row).__name__}"
        yield row if reason is None else _make_fault(path, number, reason)


def _read_csv(file: TextIO, path: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(file)
    names = next(reader, [])
    for row in reader:
        if not row:
            continue
        if len(row) != len(names):
            yield _make_fault(
                path, reader.line_num, f"the row has {len(row)} fields, the header {len(names)}"
            )
        else:
            yield dict(zip(names, row, strict=True))


def _read_lines(file: TextIO, path: str) -> Iterator[Row]:
    del path
    for line in file:
        if line.strip():
            yield {"prompt": line.rstrip("\r\n")}


def _read_parquet(path: str) -> Iterator[Row]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise_unchained(
            UsageError("Parquet needs pyarrow, which is not installed", where=path, fix="pip install pyarrow")
        )
    for part in parquet.ParquetFile(path).iter_batches(1000):
        yield from part.to_pylist()


def _make_fault(path: str, line: int, reason: str) -> BadRequest:
    return BadRequest(f"the line cannot be read: {reason}", code="LC308", where=f"{path}:{line}")


def make_prompt(row: Row, template: str | None, column: str | None) -> Row:
    """Return *row* with the prompt that *template* or *column* makes of its fields."""
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


class Writer:
    """Writes the rows of the output, in the order of the input: each with `answer`, `error` and `cost`.

    A line of OpenAI's batch files becomes a line of its result files.
    """

    def __init__(self, path: str, kind: str) -> None:
        self._kind = kind
        self._rows: list[dict[str, Any]] = []
        self._path = path
        self._header: list[str] | None = None
        self._file: Any = None
        if kind != "parquet":
            self._file = get_stdout() if path == "-" else Path(path).open("w", encoding="utf-8", newline="")  # noqa: SIM115 - `close` closes it

    def write(self, row: Mapping[str, Any], item: BatchItem) -> None:
        """Write the result of one row."""
        found = _make_openai_line(row, item) if "custom_id" in row and "body" in row else _make_row(row, item)
        if self._kind == "parquet":
            self._rows.append(found)
        elif self._kind == "csv":
            self._write_csv(found)
        else:
            self._file.write(json.dumps(found, ensure_ascii=False, default=str) + "\n")

    def flush(self) -> None:
        """Let readers see what was written."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Write the rest and close the file."""
        if self._kind == "parquet":
            from pyarrow import Table, parquet

            parquet.write_table(Table.from_pylist(self._rows), self._path)
        elif self._path != "-":
            self._file.close()
        else:
            self._file.flush()

    def _write_csv(self, row: Mapping[str, Any]) -> None:
        writer = csv.writer(self._file, lineterminator="\n")
        if self._header is None:
            self._header = list(row)
            writer.writerow(self._header)
        writer.writerow([_to_cell(row.get(name)) for name in self._header])


def _make_row(row: Mapping[str, Any], item: BatchItem) -> dict[str, Any]:
    reply, error = item.reply, item.error
    kept = {name: value for name, value in row.items() if name not in {"answer", "error", "cost"}}
    cost = None if reply is None or reply.cost is None else float(reply.cost)
    return {
        **kept,
        "answer": None if reply is None else reply.text,
        "error": None if error is None else _describe(error),
        "cost": cost,
    }


def _make_openai_line(row: Mapping[str, Any], item: BatchItem) -> dict[str, Any]:
    reply, error = item.reply, item.error
    response = None
    if reply is not None:
        from llmcore.llm.documents import complete_document

        body = complete_document(reply, "chat").raw
        response = {"status_code": 200, "request_id": reply.request_id, "body": body}
    failure = None if error is None else {"code": error.code, "message": error.message}
    return {
        "id": f"batch_req_{item.index}",
        "custom_id": row["custom_id"],
        "response": response,
        "error": failure,
    }


def _describe(error: LLMCoreError) -> str:
    return f"{error.code}: {error.message}"


def _to_cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
