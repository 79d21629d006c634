"""The output of `llmcore batch run`: the input rows with their answers, and a separate file with the failed rows."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from llmcore.cli.batch_files import Row, check_input, find_format, require_pyarrow
from llmcore.cli.command_errors import UsageError
from llmcore.cli.show import note
from llmcore.cli.streams import get_stdout
from llmcore.errors import LLMCoreError
from llmcore.llm.batch.items import BatchItem
from llmcore.llm.batch.run import find_runs_folder
from llmcore.support.errors import raise_unchained
from llmcore.types import Reply

__all__ = ["Errors", "OutputWriter", "check_paths", "lock_output", "make_error_line"]

_ADDED: Final = ("answer", "error", "cost")
"""The fields that an output row has in addition to the input fields."""
_GROUP: Final = 1000
"""The number of rows in one row group of a Parquet file."""


def check_paths(source: str, output: str) -> None:
    """Raise `UsageError` if *output* cannot be written, or if writing to it would overwrite the input."""
    check_input(source)
    if output == "-":
        return
    if find_format(output) == "parquet":
        require_pyarrow(output)
    for written in (Path(output), Path(f"{output}.errors.jsonl")):
        if source != "-" and written.exists() and Path(source).exists() and written.samefile(source):
            raise UsageError(
                f"the run would overwrite its input {source} with {written}",
                where=f"-o {output}",
                expected="another file",
            )
    folder = Path(output).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"{output} cannot be written: {'permission denied' if folder.is_dir() else 'there is no such folder'}",
            where=f"-o {output}",
            expected="a folder that exists, and that you can write to",
            fix=None if folder.is_dir() else f"mkdir -p {folder}",
        )


@contextmanager
def lock_output(output: str) -> Iterator[None]:
    """Lock the file or folder *output* inside the block, so that no other run writes to it. Stdout is not locked.

    Raises:
        LLMCoreError: Another process writes to *output*.
    """
    if output == "-":
        yield
        return
    folder = find_runs_folder()
    digest = hashlib.sha256(str(Path(output).resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    with _explain(str(folder)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / f"{digest}.output").open("w")  # never deleted: another process may have it open
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise_unchained(
                LLMCoreError(
                    f"the output {output} is in use by another process",
                    code="LC320",
                    where=f"-o {output}",
                    expected="one process for each run and each output",
                    fix="llmcore batch list",
                )
            )
        yield


@contextmanager
def _explain(path: str) -> Iterator[None]:
    """Convert a failure to write the file *path* to an error that names the file. Do not convert failures of stdout."""
    try:
        yield
    except OSError as error:
        if path == "-":
            raise
        raise_unchained(
            LLMCoreError(
                f"{path} cannot be written: {error.strerror or error}",
                code="LC324",
                where=path,
                expected="a disk with space, and a file that you can write",
            )
        )


class Errors:
    """The file of the failed lines. It is created when a line fails. If no line fails, the file of an earlier run is removed.

    Args:
        path: The file; if None, the lines are only counted.
    """

    def __init__(self, path: Path | None) -> None:
        self.count = 0
        self._path = path
        self._file: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line."""
        self.count += 1
        if self._path is None:
            return
        with _explain(str(self._path)):
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace")
            self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        """Close the file. If no line has failed, remove the file of an earlier run."""
        if self._file is not None:
            with _explain(str(self._path)):
                self._file.close()
        elif self._path is not None:
            self._path.unlink(missing_ok=True)


class OutputWriter:
    """Writes the output rows in input order, with the added fields `answer`, `error` and `cost`.

    For a line of OpenAI's batch files, the output has a line of OpenAI's result files.

    Args:
        path: The file, or - for stdout.
        kind: The format of the file.
        source: The input.
    """

    def __init__(self, path: str, kind: str, source: str) -> None:
        self._path = path
        self._parquet = _ParquetRows(path, source) if kind == "parquet" else None
        self._separator = {"csv": ",", "tsv": "\t"}.get(kind)
        """The separator of a table of text; None for JSON lines and Parquet."""
        self._header: list[str] | None = None
        self._held: list[dict[str, Any]] = []
        """Unreadable rows at the start of a table. They are held until the first readable row determines the header."""
        self._left_out: set[str] = set()
        self._file: Any = None
        if path == "-":
            self._file = get_stdout()
        elif self._parquet is None:
            with _explain(path):
                self._file = Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115 - `close` closes it

    def write(self, row: Mapping[str, Any], item: BatchItem, answer: str | None = None) -> None:
        """Write the result of one row; *row* is empty for an unreadable row.

        Args:
            row: The row of the input.
            item: The result of the row.
            answer: The text to write in place of the text of the reply.
        """
        is_openai = "custom_id" in row and "body" in row
        found = _make_openai_line(row, item) if is_openai else _make_row(row, item, answer)
        with _explain(self._path):
            if self._parquet is not None:
                self._parquet.write(found)
            elif self._separator is not None:
                self._write_separated(found, is_empty=not row)
            else:
                self._file.write(json.dumps(found, ensure_ascii=False, default=str) + "\n")
                if self._path == "-":  # the next program in the pipe may wait for the row
                    self._file.flush()

    def close(self) -> None:
        """Write the rows that are still in memory, and close the file."""
        with _explain(self._path):
            if self._parquet is not None:
                self._parquet.close()
                return
            if self._held:
                self._write_header(list(_ADDED))
            if self._path != "-":
                self._file.close()
            else:
                self._file.flush()
        if self._left_out:
            note(
                f"{self._path} lacks fields that the first line does not have: {', '.join(sorted(self._left_out))}; "
                "to keep all fields, write to a .jsonl file"
            )

    def _write_separated(self, row: dict[str, Any], *, is_empty: bool) -> None:
        if self._header is None:
            if is_empty:
                self._held.append(row)
                return
            self._write_header(list(row))
        self._write_row(row)

    def _write_header(self, names: list[str]) -> None:
        self._header = names
        self._write_cells(names)
        for row in self._held:
            self._write_row(row)
        self._held.clear()

    def _write_row(self, row: Mapping[str, Any]) -> None:
        names = self._header or []
        self._left_out.update(row.keys() - names)
        self._write_cells([_format_cell(row.get(name)) for name in names])

    def _write_cells(self, cells: Iterable[str]) -> None:
        csv.writer(self._file, delimiter=self._separator or ",", lineterminator="\n").writerow(cells)


class _ParquetRows:
    """Writes a Parquet file.

    If the input is Parquet, the types of its columns are known, so groups of rows are written as they arrive. Otherwise
    all rows are written at the end.
    """

    def __init__(self, path: str, source: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._arrow, self._parquet, self._path = pa, parquet, path
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None
        if Path(source).suffix.lower() == ".parquet":
            schema = parquet.read_schema(source)
            kept = [field for field in schema if field.name not in _ADDED]
            types = pa.string(), pa.string(), pa.float64()
            added = [pa.field(name, kind) for name, kind in zip(_ADDED, types, strict=True)]
            self._writer = parquet.ParquetWriter(path, pa.schema([*kept, *added]))

    def write(self, row: dict[str, Any]) -> None:
        """Write one row."""
        self._rows.append(row)
        if self._writer is not None and len(self._rows) >= _GROUP:
            self._flush()

    def close(self) -> None:
        """Write the rows that are still in memory, and close the file."""
        if self._writer is None:
            self._parquet.write_table(self._make_table(), self._path)
            return
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows.clear()

    def _make_table(self) -> Any:
        """Return all rows. Convert a field with values of different types to JSON."""
        names = list(dict.fromkeys(name for row in self._rows for name in row)) or list(_ADDED)
        columns = {}
        for name in names:
            values = [row.get(name) for row in self._rows]
            try:
                columns[name] = self._arrow.array(values)
            except (self._arrow.ArrowInvalid, self._arrow.ArrowTypeError, OverflowError):
                columns[name] = self._arrow.array(
                    [None if each is None else _format_cell(each) for each in values]
                )
        return self._arrow.table(columns)


def make_error_line(row: Row, item: BatchItem) -> dict[str, Any]:
    """Return the line of a failed item for the file of the failed lines."""
    error = item.error
    assert error is not None  # noqa: S101 - the caller passes only failed items
    return {
        "line": item.index + 1,
        "id": item.id,
        "code": error.code,
        "error": error.message,
        "where": "--schema" if error.code == "LC407" else error.where,
        "input": row if isinstance(row, dict) else None,
    }


def _make_row(row: Mapping[str, Any], item: BatchItem, answer: str | None) -> dict[str, Any]:
    reply, error = item.reply, item.error
    kept = {name: value for name, value in row.items() if name not in {"answer", "error", "cost"}}
    cost = None if reply is None or reply.cost is None else float(reply.cost)
    return {
        **kept,
        "answer": None if reply is None else answer or _get_vector(reply) or reply.text,
        "error": None if error is None else _describe(error),
        "cost": cost,
    }


def _get_vector(reply: Reply[Any]) -> list[float] | None:
    """Return the vector of a reply; None for a reply that is a text."""
    raw = None if reply.text else reply.raw
    if not isinstance(raw, dict) or raw.get("object") != "list":
        return None
    vector: list[float] = raw["data"][0]["embedding"]
    return vector


def _make_openai_line(row: Mapping[str, Any], item: BatchItem) -> dict[str, Any]:
    reply, error = item.reply, item.error
    response = None
    if reply is not None:
        from llmcore.llm.documents import complete_document

        body = reply.raw if _get_vector(reply) is not None else complete_document(reply, "chat").raw
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


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
