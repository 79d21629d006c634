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
from typing import Any, Final, NamedTuple

import apsw
import msgspec
from msgspec.structs import replace

from llmcore.builtin.sqlite_ledger.day_latencies import LATENCY_COLUMNS, measure, pack, unpack
from llmcore.builtin.sqlite_ledger.day_shapes import EPOCH, SHAPES, find_shape, merge, restore
from llmcore.support.ledger_rows import ReportQuery
from llmcore.support.utc_offsets import find_offsets, get_local_offset

__all__ = ["Kept", "Rows"]

_VERSION: Final = 2
"""A part of the names of stored sums. Increment it when the definition of the sums changes."""
_LATENCIES: Final = f"{_VERSION} latencies"
"""The name of the stored latencies."""
_FEWEST_ROWS: Final = 20_000
"""If the ledger has fewer rows than this since the start of a report, the report reads the rows, not stored sums."""
_MOST_DAYS: Final = 4000
_SETTLED_S: Final = 3600
"""The sums of a day are stored at the earliest this many seconds after the day has ended."""
_MEASURED: Final = frozenset({"total", "day", "week", "month", *LATENCY_COLUMNS})
"""The dimensions and filters for which percentiles can be computed from stored latencies."""
_SELECT_DAY: Final = "SELECT rows FROM days WHERE shape = ? AND start = ? AND finish = ?"
_TIMEOUT_MS: Final = 2000
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS days (
        shape TEXT, start INTEGER, finish INTEGER, rows BLOB, PRIMARY KEY (shape, start, finish)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS seen (first INTEGER, last INTEGER) STRICT;  -- ids of rows of the ledger
"""


class _Zone:
    """A time zone, made from the UTC offsets in a query."""

    def __init__(self, offsets: Sequence[tuple[int, int]]) -> None:
        *later, (_, first) = offsets
        self._offsets = [(float("-inf"), first), *reversed(later)]

    def get_offset(self, at: float) -> int:
        """Return the seconds that local time is ahead of UTC at the moment *at*."""
        return next(offset for moment, offset in reversed(self._offsets) if at >= moment)

    def find_date(self, at: float) -> date:
        """Return the local date at the moment *at*."""
        return date.fromordinal(EPOCH + int((at + self.get_offset(at)) // 86400))

    def find_start(self, day: date) -> int:
        """Return the first moment of a local day."""
        midnight = (day.toordinal() - EPOCH) * 86400
        ends = [moment for moment, _ in self._offsets[1:]]
        for (moment, offset), end in zip(self._offsets, [*ends, float("inf")], strict=True):
            start = max(midnight - offset, moment)
            if start < end:
                return int(start)
        raise AssertionError("the last offset has no end")


class Rows(NamedTuple):
    """Functions that read the rows of the ledger, in one transaction."""

    sum_query: Callable[[ReportQuery], list[tuple[Any, ...]]]
    """Returns the values of the dimensions and the sums of a query."""
    sum_days: Callable[[Sequence[str], ReportQuery], Iterable[tuple[Any, ...]]]
    """Sums the requests that a query selects. Returns tuples of a day, the values of the columns, and the sums.

    Several tuples may have the same day and values. The caller adds them up.
    """
    read_latencies: Callable[[ReportQuery], Iterable[tuple[Any, ...]]]
    """Returns the day, kind, provider, model, latency and time to first token of each answered request."""


class Kept:
    """The stored sums of finished days, for the reports of one ledger.

    Args:
        db: The ledger, in a transaction, so that the parts of a report are consistent.
        rows: Reads the rows of the ledger.
        path: The file of the sums. A new file is readable by this user only.
    """

    def __init__(self, db: apsw.Connection, rows: Rows, path: Path) -> None:
        self._db, self._rows, self._path = db, rows, path

    def sum(self, query: ReportQuery) -> list[tuple[Any, ...]] | None:
        """Return the result of `Rows.sum_query` from stored sums.

        The result is None if that would not be faster, or if the file is unusable.
        """
        shape = find_shape(query)
        if shape is None:
            return None
        zone = _Zone(query.offsets)
        try:
            days = _find_days(self._db, query, zone, time.time())
            if len(days) < 2:  # noqa: PLR2004 - for one day, reading the rows is as fast
                return None
            with self._open() as kept:
                found = self._read_days(kept, query, zone, days, _name_shape(shape))
        except (apsw.Error, OSError):  # without the file, the caller reads the rows
            return None
        rows = [*restore(query, shape, found)]
        for part in _list_rests(query, zone, days):
            rows.extend(self._rows.sum_query(part))
        return merge(rows, len(query.dimensions))

    def find_percentiles(self, query: ReportQuery) -> dict[tuple[Any, ...], tuple[float | None, ...]] | None:
        """Return the percentiles of each group of *query*; None if the caller must compute them from the rows."""
        if find_shape(query) != SHAPES[0] or not _MEASURED.issuperset((*query.dimensions, *query.filters)):
            return None
        zone = _Zone(query.offsets)
        try:
            days = _find_days(self._db, query, zone, time.time())
            if len(days) < 2:  # noqa: PLR2004 - for one day, reading the rows is as fast
                return None
            with self._open() as kept:
                found = self._read_days(kept, query, zone, days, _LATENCIES)
        except (apsw.Error, OSError):
            return None
        parts = [(day, unpack(blob)) for day, blob in found]
        for part in _list_rests(query, zone, days):
            of_days = _group_by_day(self._rows.read_latencies(part))
            parts += [(date.fromordinal(EPOCH + day), unpack(pack(rows))) for day, rows in of_days.items()]
        return measure(query, parts)

    def store_days(self, most: int) -> bool:
        """Store the sums of up to *most* finished days, in this machine's time zone. Return whether more are missing."""
        now = time.time()
        first: int | None = self._db.execute("SELECT min(id) FROM calls").get
        if first is None:
            return False
        offsets = find_offsets(get_local_offset, first / 1e6, now)
        query = ReportQuery(dimensions=("day",), offsets=tuple(offsets))
        zone = _Zone(query.offsets)
        days = _find_days(self._db, query, zone, now)
        if not days:
            return False
        with self._open() as kept:
            stored = {
                start for (start,) in kept.execute("SELECT start FROM days WHERE shape = ?", (_LATENCIES,))
            }
            missing = [day for day in days if zone.find_start(day) not in stored]
            for shape in (*map(_name_shape, SHAPES), _LATENCIES) if missing else ():
                self._read_days(kept, query, zone, missing[:most], shape)
        return len(missing) > most

    @contextmanager
    def _open(self) -> Iterator[apsw.Connection]:
        kept = _open(self._path)
        try:
            with _begin(kept, "IMMEDIATE"):
                _forget_changed_days(kept, self._db)
                yield kept
        finally:
            kept.close()

    def _read_days(
        self, kept: apsw.Connection, query: ReportQuery, zone: _Zone, days: Sequence[date], shape: str
    ) -> list[tuple[date, Any]]:
        """Return the stored content of each of *days*. First sum and store the days that are not stored yet."""
        bounds = dict(zip(days, _find_bounds(zone, days), strict=True))
        found: dict[date, bytes] = {}
        for day, (start, finish) in bounds.items():
            blob: bytes | None = kept.execute(_SELECT_DAY, (shape, start, finish)).get
            if blob is not None:
                found[day] = blob
        missing = [day for day in days if day not in found]
        if missing:
            since, until = bounds[missing[0]][0], bounds[missing[-1]][1]
            part = ReportQuery(
                dimensions=("day",), since=float(since), until=float(until), offsets=query.offsets
            )
            made = self._make_blobs(part, shape)
            for day in missing:
                found[day] = made(day.toordinal() - EPOCH)
                kept.execute("INSERT INTO days VALUES (?, ?, ?, ?)", (shape, *bounds[day], found[day]))
        is_sums = shape.startswith("[")
        return [(day, msgspec.json.decode(found[day]) if is_sums else found[day]) for day in days]

    def _make_blobs(self, query: ReportQuery, shape: str) -> Callable[[int], bytes]:
        """Return a function that takes the number of a day and returns the content to store for the day."""
        if not shape.startswith("["):
            measured = _group_by_day(self._rows.read_latencies(query))
            return lambda day: pack(measured.get(day, ()))
        columns: list[str] = msgspec.json.decode(shape)[1]
        sums = _group_by_day(self._rows.sum_days(columns, query))
        return lambda day: msgspec.json.encode(_add_up(sums.get(day, ()), len(columns)))


def _name_shape(shape: Sequence[str]) -> str:
    return msgspec.json.encode([_VERSION, shape]).decode()


def _group_by_day(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row[1:])
    return found


def _add_up(rows: Iterable[tuple[Any, ...]], size: int) -> list[tuple[Any, ...]]:
    sums: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in rows:
        key, known = row[:size], sums.get(row[:size])
        values = row[size:]
        sums[key] = values if known is None else tuple(a + b for a, b in zip(known, values, strict=True))
    return [(*key, *values) for key, values in sums.items()]


def _list_rests(query: ReportQuery, zone: _Zone, days: Sequence[date]) -> list[ReportQuery]:
    """Return the parts of *query* before and after *days*."""
    start, finish = zone.find_start(days[0]), zone.find_start(days[-1] + timedelta(days=1))
    parts = replace(query, until=float(start)), replace(query, since=float(finish))
    return [part for part in parts if part.since < part.until]


@contextmanager
def _begin(db: apsw.Connection, kind: str) -> Iterator[None]:
    """Run the block in a transaction, and commit unless the block raises an exception."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        with suppress(apsw.Error):  # if the file failed, SQLite has already ended the transaction
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _find_days(db: apsw.Connection, query: ReportQuery, zone: _Zone, now: float) -> list[date]:
    """Return the finished days that are completely within the query, or [] if stored sums would not be faster."""
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
    """Remove the stored days that got new rows since the last report. If rows were deleted, remove all stored days.

    A new row has a larger id than every row that was settled before, so new rows are found by their ids. Only `prune`
    deletes settled rows.
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


def _find_bounds(zone: _Zone, days: Sequence[date]) -> list[tuple[int, int]]:
    starts = [int(zone.find_start(day)) for day in (*days, days[-1] + timedelta(days=1))]
    return list(pairwise(starts))
