"""The shapes in which sums of days are stored, and the reports that each shape can answer.

A shape is the list of columns by which the sums of a day are stored. A report uses the first shape that has a column for
each of its dimensions and filters. Most reports use the same shape, so the rows of a day are read once, and later reports
use the stored sums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, Final

from llmcore.support.ledger_rows import ReportQuery

__all__ = ["EPOCH", "SHAPES", "find_shape", "merge", "restore"]

EPOCH: Final = date(1970, 1, 1).toordinal()
SHAPES: Final = (("kind", "provider", "model", "tags", "error"), ("user",))
"""The columns of each shape. Each day has one row of sums for each combination of values in these columns.

Users have a separate shape, because users and models would have many combinations.
"""
_TIMES: Final = frozenset({"day", "week", "month"})
_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "total": (), "day": (), "week": (), "month": (), "model": ("provider", "model"), "provider": ("provider",),
    "kind": ("kind",), "user": ("user",), "tag": ("tags",), "error": ("error",),
}  # fmt: skip
"""Dimension or filter -> its columns.

There is no column for hours. There is no column for API keys either: a key is recorded as a user, and which users count as
keys may change after the sums are stored.
"""


def find_shape(query: ReportQuery) -> tuple[str, ...] | None:
    """Return the shape that can answer *query*, or None."""
    needed: set[str] = set()
    for name in (*query.dimensions, *query.filters):
        if name not in _COLUMNS:
            return None
        needed.update(_COLUMNS[name])
    return next((shape for shape in SHAPES if needed.issubset(shape)), None)


def restore(
    query: ReportQuery, shape: Sequence[str], days: Iterable[tuple[date, Sequence[Sequence[Any]]]]
) -> Iterator[tuple[Any, ...]]:
    """Yield rows of a report, made from the stored sums of *days*: the values of the dimensions, then the sums.

    Several rows may have the same values; `merge` adds them up.
    """
    size, names = len(shape), query.dimensions
    for day, rows in days:
        number = day.toordinal() - EPOCH
        of_day = {"total": "all", "day": number, "week": (number + 3) // 7, "month": f"{day:%Y-%m}"}
        for row in rows:
            values = dict(zip(shape, row, strict=False))
            tags = json.loads(values["tags"] or "[]") or [""] if "tags" in values else [""]
            if not _is_match(query, values, tags) or ("error" in names and values["error"] is None):
                continue
            if "model" in values:
                values["model"] = f"{values['provider']}:{values['model']}"
            if "user" in values:
                values["user"] = values["user"] or ""
            for tag in tags if "tag" in names else [""]:
                found = {**values, **of_day, "tag": tag}
                yield (*(found[name] for name in names), *row[size:])


def _is_match(query: ReportQuery, values: dict[str, Any], tags: Sequence[str]) -> bool:
    for name, wanted in query.filters.items():
        if name == "model":
            if wanted not in {values["model"], f"{values['provider']}:{values['model']}"}:
                return False
        elif name == "tag":
            if wanted not in tags:
                return False
        elif (values[name] or "" if name == "user" else values[name]) != wanted:
            return False
    return True


def merge(rows: Iterable[tuple[Any, ...]], size: int) -> list[tuple[Any, ...]]:
    """Add up the rows whose first *size* values are equal.

    Return one row for each combination of these values, sorted by them.
    """
    merged: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        key, sums = row[:size], row[size:]
        known = merged.get(key)
        merged[key] = list(sums) if known is None else [a + b for a, b in zip(known, sums, strict=True)]
    return [(*key, *merged[key]) for key in sorted(merged)]
