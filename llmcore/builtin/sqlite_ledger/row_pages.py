"""Read the rows of the ledger page by page; see `LedgerProvider.iterate_rows`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from llmcore.builtin.sqlite_ledger.reports import make_where
from llmcore.support.ledger_rows import LedgerRow, RowQuery

if TYPE_CHECKING:
    import apsw

__all__ = ["iterate_rows"]

_PAGE: Final = 1000
_COLUMNS: Final = LedgerRow.__struct_fields__
_FLAGS: Final = ("uncertain", "estimated")

Read = Callable[[Callable[["apsw.Connection"], list[LedgerRow]]], list[LedgerRow]]
"""A function that runs a query in a read transaction."""


def iterate_rows(read: Read, query: RowQuery) -> Iterator[LedgerRow]:
    """Yield the rows page by page. No transaction is open while the caller uses a row."""
    left, last = query.limit, None
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        page = read(partial(_read_page, query=query, last=last, size=size))
        yield from page
        if len(page) < size:
            return
        left, last = None if left is None else left - size, page[-1].id


def _read_page(db: apsw.Connection, query: RowQuery, last: int | None, size: int) -> list[LedgerRow]:
    where, values = make_where(query)
    if query.states is not None:
        where.append(f"state IN ({', '.join('?' * len(query.states))})")
        values.extend(query.states)
    if last is not None:
        where.append("id < ?" if query.newest_first else "id > ?")
        values.append(last)
    order = "DESC" if query.newest_first else "ASC"
    rows = db.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM calls WHERE {' AND '.join(where)} ORDER BY id {order} LIMIT ?",  # noqa: S608 - only constants are inserted
        (*values, size),
    )
    return [_decode(row) for row in rows]


def _decode(values: Sequence[Any]) -> LedgerRow:
    row = dict(zip(_COLUMNS, values, strict=True))
    row["tags"] = tuple(json.loads(row["tags"])) if row["tags"] else ()
    row["owner"] = row["owner"] and row["owner"].partition(" ")[0]
    row.update((flag, bool(row[flag])) for flag in _FLAGS)
    return LedgerRow(**row)
