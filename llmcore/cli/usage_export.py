"""`llmcore usage export`: every row of the ledger as CSV, JSON lines or Parquet."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from llmcore.cli.batch_files import require_pyarrow
from llmcore.cli.command_errors import UsageError
from llmcore.cli.show import to_json
from llmcore.cli.streams import get_stdout
from llmcore.cli.usage_tables import print_csv

__all__ = ["export"]

_AMOUNTS: Final = ("reserved", "cost", "saved")
_REALS: Final = ("at", "latency_ms", "first_token_ms")
_TEXTS: Final = (
    "call", "state", "kind", "provider", "model", "served", "tier_asked", "tier", "request_id", "error", "user", "owner",
    "cost_source",
)  # fmt: skip
_GROUP: Final = 10_000
"""The number of rows in one row group of a Parquet file."""


def export(rows: Iterator[dict[str, Any]], args: argparse.Namespace) -> None:
    """Write *rows* to the file `--output` or to stdout, in the format of *args*.

    Raises:
        UsageError: Parquet would go to a terminal, or pyarrow is not installed.
        OSError: The file cannot be written.
    """
    if args.parquet:
        _check_parquet(args.output)
        if args.output is None:
            get_stdout().flush()
            _write_parquet(rows, get_stdout().buffer)
        else:
            with Path(args.output).open("wb") as file:
                _write_parquet(rows, file)
        return
    with _open_text(args.output) as out:
        if args.json:
            for row in rows:
                print(to_json(row, out), file=out)
        else:
            print_csv(({**row, "tags": " ".join(row["tags"])} for row in rows), out)


@contextmanager
def _open_text(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield get_stdout()
        return
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        yield file


def _check_parquet(output: str | None) -> None:
    require_pyarrow("--parquet")
    if output is None and get_stdout().isatty():
        raise UsageError(
            "Parquet is binary, and stdout is a terminal",
            where="--parquet",
            expected="a file",
            fix="llmcore usage export --parquet --output usage.parquet",
        )


def _write_parquet(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        **dict.fromkeys(_AMOUNTS, pa.decimal128(28, 9)),
        **dict.fromkeys(_REALS, pa.float64()),
        **dict.fromkeys(_TEXTS, pa.string()),
        "tags": pa.list_(pa.string()),
    }
    # Write to memory first: writing Parquet seeks in the file, which a pipe does not support.
    buffer = io.BytesIO()
    writer: Any = None
    group: list[dict[str, Any]] = []

    def write_group() -> None:
        writer.write_table(pa.Table.from_pylist(group, schema=writer.schema))
        group.clear()

    for row in rows:
        if writer is None:
            schema = pa.schema([(name, types.get(name, pa.int64())) for name in row])
            writer = parquet.ParquetWriter(buffer, schema)
        amounts = {name: None if row[name] is None else Decimal(row[name]) for name in _AMOUNTS}
        group.append({**row, **amounts})
        if len(group) == _GROUP:
            write_group()
    if writer is None:
        writer = parquet.ParquetWriter(buffer, pa.schema(list(types.items())))
    write_group()
    writer.close()
    file.write(buffer.getvalue())
