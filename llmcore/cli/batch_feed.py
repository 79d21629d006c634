"""Read the input of `llmcore batch run` once, for the requests and for the output."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

from llmcore.cli.batch_files import SEPARATED, Row, find_format, make_prompt, read_rows, stat_file
from llmcore.cli.batch_say import prepare_speech
from llmcore.errors import BadRequest
from llmcore.llm.batch.items import Prepared, prepare

__all__ = ["Feed"]


class Feed:
    """Reads the input once, for the requests and for the output rows."""

    def __init__(self, args: argparse.Namespace, parameters: dict[str, Any]) -> None:
        self._args = args
        self.parameters = parameters
        """The parameters of every row."""
        self.rows: deque[Row] = deque()
        """The rows that were read but not yet written."""
        self.has_changed = False
        """True if a program changed the file during the run."""
        self.is_cut = False
        """True if --limit excluded lines."""

    def read(self) -> Iterator[Prepared] | AsyncIterator[Prepared]:
        """Return an iterator over the request bodies of all rows."""
        self.rows.clear()
        return self._stream() if self._args.input == "-" and not self._args.dry_run else self._read()

    def _read(self) -> Iterator[Prepared]:
        args = self._args
        before = stat_file(args.input)
        rows = read_rows(args.input, find_format(args.input))
        for number, row in enumerate(islice(rows, args.limit)):
            yield self._prepare(number, row)
        self.is_cut = args.limit is not None and args.input != "-" and next(rows, None) is not None
        self.has_changed = stat_file(args.input) != before

    async def _stream(self) -> AsyncIterator[Prepared]:
        from llmcore.cli.batch_stdin import stream_rows

        number = 0
        async for row in stream_rows(lambda: islice(read_rows("-", "jsonl"), self._args.limit)):
            yield self._prepare(number, row)
            number += 1

    def _prepare(self, number: int, row: Row) -> Prepared:
        args = self._args
        if not args.dry_run:
            self.rows.append(row)
        item = _make_item(make_prompt(row, args.prompt, args.column), args)
        if args.say:
            return prepare_speech(number, item, self.parameters, args.voice)
        return prepare(number, item, self.parameters, args.system, args.api)


def _make_item(row: Row, args: argparse.Namespace) -> Any:
    """Return the item to send for *row*.

    With --prompt or --column, and for a table, the item has only the fields `id`, `prompt` and `messages`.
    """
    if isinstance(row, BadRequest) or "body" in row:
        return row
    if args.prompt is None and args.column is None and find_format(args.input) not in {*SEPARATED, "parquet"}:
        return row
    return {name: row[name] for name in ("id", "prompt", "messages") if row.get(name)}
