"""Store sums of finished days in a file next to the ledger, so that a report of months does not read all rows.

The file may be deleted, because the ledger contains the same data. The sums of a day are stored after the day is over and
all requests of the day are settled. If the ledger gets a late row for a stored day, the next report sums that day again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from msgspec.structs import replace

from llmcore.support.ledger_rows import ReportQuery

__all__ = ["Select", "sum_with_kept_days"]

Select = Callable[[ReportQuery], list[tuple[Any, ...]]]
"""A function that sums the rows of a query. A result has the values of the dimensions, then the sums."""

_VERSION: Final = 1
"""A part of the names of stored sums. Increment it when the definition of the sums changes."""
_FEWEST_ROWS: Final = 20_000
"""A report of fewer rows does not use stored sums."""
_MOST_DAYS: Final = 4000
_SETTLED_S: Final = 3600
"""The seconds between the end of a day and the time when its sums may be stored."""
_DAYS: Final = frozenset({"day", "week", "month"})
_TIMEOUT_MS: Final = 2000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS days (
        shape TEXT, start INTEGER, finish INTEGER, rows BLOB, PRIMARY KEY (shape, start, finish)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS seen (first INTEGER, last INTEGER) STRICT;  -- ids of rows of the ledger
"""


class _Zone:
    """A time zone, from the offsets of a query."""

    def __init__(self, offsets: Sequence[tuple[int, int]]) -> None:
        *later, (_, first) = offsets
        self._offsets = [(float("-inf"), first), *reversed(later)]

    def get_offset(self, at: float) -> int:
        """Return the seconds that local time is ahead of UTC at the moment *at*."""
        return next(offset for moment, offset in reversed(self._offsets) if at >= moment)

    def find_date(self, at: float) -> date:
        """Return the local date at the moment *at*."""
        return date.fromordinal(_EPOCH + int((at + self.get_offset(at)) // 86400))

    def find_start(self, day: date) -> int:
        """Return the first moment of a local day."""
        midnight = (day.toordinal() - _EPOCH) * 86400
        ends = [moment for moment, _ in self._offsets[1:]]
        for (moment, offset), end in zip(self._offsets, [*ends, float("inf")], strict=True):
            start = max(midnight - offset, moment)
            if start < end:
                return int(start)
        raise AssertionError("the last offset has no end")


def sum_with_kept_days(
    db: apsw.Connection, query: ReportQuery, select: Select, path: Path
) -> list[tuple[Any, ...]] | None:
    """Return what *select* returns for *query*, from stored sums of finished days and the rows of other days.

    The result is None if stored sums would not help, or the file is not usable.

    Args:
        db: The ledger, in a transaction, so that the parts of the report are consistent.
        query: A query without percentiles.
        select: Sums rows of the ledger.
        path: The file of the stored sums. A new file is readable by this user only.
    """
    zone = _Zone(query.offsets)
    try:
        days = _find_days(db, query, zone, time.time())
        if len(days) < 2:  # noqa: PLR2004 - summing one day is as fast
            return None
        kept = _open(path)
        try:
            with _begin(kept, "IMMEDIATE"):
                _forget_changed_days(kept, db)
                rows = _read_days(kept, query, zone, select, days)
        finally:
            kept.close()
        start, finish = zone.find_start(days[0]), zone.find_start(days[-1] + timedelta(days=1))
        for part in (replace(query, until=float(start)), replace(query, since=float(finish))):
            if part.since < part.until:
                rows.extend(select(part))
    except (apsw.Error, OSError):  # without the file, the caller reads the rows
        return None
    return _merge(rows, len(query.dimensions))


@contextmanager
def _begin(db: apsw.Connection, kind: str) -> Iterator[None]:
    """Run the block in a transaction, and commit unless the block raises an exception."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        with suppress(apsw.Error):  # after a failure of the file, SQLite has ended the transaction
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _find_days(db: apsw.Connection, query: ReportQuery, zone: _Zone, now: float) -> list[date]:
    """Return the finished days that are completely within the query; an empty list if stored sums would not help."""
    if query.filters or "key" in query.dimensions:
        return []  # the set of users that are API keys may change
    floor = max(int(query.since * 1e6), 0)
    count: int = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM calls WHERE id >= ? LIMIT ?)", (floor, _FEWEST_ROWS)
    ).get
    if count < _FEWEST_ROWS:
        return []
    first: int = db.execute("SELECT min(id) FROM calls WHERE id >= ?", (floor,)).get
    day = zone.find_date(max(query.since, first / 1e6))
    if zone.find_start(day) < query.since:
        day += timedelta(days=1)
    oldest_open: float | None = db.execute(
        "SELECT min(at) FROM calls WHERE id >= (SELECT id FROM swept) AND state = 'open'"
    ).get
    limit = min(query.until, now - _SETTLED_S, float("inf") if oldest_open is None else oldest_open)
    days: list[date] = []
    while zone.find_start(day + timedelta(days=1)) <= limit and len(days) < _MOST_DAYS:
        days.append(day)
        day += timedelta(days=1)
    return days


def _open(path: Path) -> apsw.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    kept = apsw.Connection(str(path))
    try:
        kept.set_busy_timeout(_TIMEOUT_MS)
        kept.execute(f"PRAGMA synchronous = OFF; {_SCHEMA}")
    except apsw.Error:
        kept.close()
        raise
    return kept


def _forget_changed_days(kept: apsw.Connection, db: apsw.Connection) -> None:
    """Remove the days with new rows since the last report, and all days if rows were deleted.

    The id of a new row is larger than the ids of all settled rows. Only `prune` deletes settled rows.
    """
    first: int | None = db.execute("SELECT min(id) FROM calls").get
    last: int | None = db.execute("SELECT max(id) FROM calls WHERE state <> 'open'").get
    seen: tuple[int, int] | None = kept.execute("SELECT first, last FROM seen").get
    if seen is not None:
        known_first, known_last = seen
        still_there = db.execute("SELECT 1 FROM calls WHERE id = ?", (known_last,)).get
        if first != known_first or not still_there:
            kept.execute("DELETE FROM days")
        else:
            finish: int | None = kept.execute("SELECT max(finish) FROM days").get
            late = db.execute("SELECT at FROM calls WHERE id > ? AND at < ?", (known_last, finish or 0))
            for (at,) in late:
                kept.execute("DELETE FROM days WHERE start <= ? AND finish > ?", (at, at))
    kept.execute("DELETE FROM seen")
    if first is not None and last is not None:
        kept.execute("INSERT INTO seen VALUES (?, ?)", (first, last))


def _read_days(
    kept: apsw.Connection, query: ReportQuery, zone: _Zone, select: Select, days: Sequence[date]
) -> list[tuple[Any, ...]]:
    """Return the rows of *days*. Sum and store the days that are not stored yet."""
    others = tuple(name for name in query.dimensions if name not in _DAYS)
    shape = msgspec.json.encode([_VERSION, others]).decode()
    bounds = _find_bounds(zone, days)
    if "hour" in others:  # the start of an hour depends on the zone
        shape += str(zone.get_offset(bounds[0][0]) % 3600)
    found: dict[date, list[list[Any]]] = {}
    for day, (start, finish) in zip(days, bounds, strict=True):
        blob: bytes | None = kept.execute(
            "SELECT rows FROM days WHERE shape = ? AND start = ? AND finish = ?", (shape, start, finish)
        ).get
        if blob is not None:
            found[day] = msgspec.json.decode(blob)
    missing = [place for place, day in enumerate(days) if day not in found]
    if missing:
        since, until = bounds[missing[0]][0], bounds[missing[-1]][1]
        whole = replace(query, dimensions=("day", *others), since=float(since), until=float(until))
        sums: dict[int, list[list[Any]]] = {}
        for number, *rest in select(whole):
            sums.setdefault(number, []).append(rest)
        for place in missing:
            day = days[place]
            rows = found[day] = sums.get(day.toordinal() - _EPOCH, [])
            kept.execute(
                "INSERT INTO days VALUES (?, ?, ?, ?)", (shape, *bounds[place], msgspec.json.encode(rows))
            )
    return list(_restore(query.dimensions, others, found, days))


def _find_bounds(zone: _Zone, days: Sequence[date]) -> list[tuple[int, int]]:
    starts = [int(zone.find_start(day)) for day in (*days, days[-1] + timedelta(days=1))]
    return list(pairwise(starts))


def _restore(
    dimensions: Sequence[str], others: Sequence[str], found: dict[date, list[list[Any]]], days: Sequence[date]
) -> Iterable[tuple[Any, ...]]:
    """Yield the rows of the query: the stored rows with their day, week and month."""
    for day in days:
        number = day.toordinal() - _EPOCH
        of_day = {"day": number, "week": (number + 3) // 7, "month": f"{day:%Y-%m}"}
        for row in found[day]:
            values = {**of_day, **dict(zip(others, row, strict=False))}
            yield (*(values[name] for name in dimensions), *row[len(others) :])


def _merge(rows: Iterable[tuple[Any, ...]], size: int) -> list[tuple[Any, ...]]:
    """Return the sums of rows with the same first *size* values, in their order."""
    merged: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        key, sums = row[:size], row[size:]
        known = merged.get(key)
        merged[key] = list(sums) if known is None else [a + b for a, b in zip(known, sums, strict=True)]
    return [(*key, *merged[key]) for key in sorted(merged)]
