"""Percentiles from the sorted latencies of stored days and the rows of other days.

The results equal those of SQLite's `percentile`, which interpolates between two neighbouring values.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

import msgspec

from llmcore.builtin.sqlite_ledger.day_shapes import EPOCH
from llmcore.support.ledger_rows import ReportQuery

__all__ = ["LATENCY_COLUMNS", "Latencies", "measure", "pack", "unpack"]

LATENCY_COLUMNS: Final = ("kind", "provider", "model")
"""The columns by which the latencies of a day are stored."""
Latencies = Sequence[tuple[str, str, str, "array[float]", "array[float]"]]
"""Kind, provider, model, and the sorted latencies and times to the first token in milliseconds."""
_PERCENTS: Final = (50, 95)
_FEW: Final = 500
"""`_find_rank` narrows the range until at most this many values are left (with many lists: four values for each list).
Then it sorts these values."""


def pack(rows: Iterable[tuple[str, str, str, float | None, float | None]]) -> bytes:
    """Return the latencies of answered requests for storage."""
    found: dict[tuple[str, str, str], tuple[list[float], list[float]]] = {}
    for kind, provider, model, latency, first in rows:
        latencies, firsts = found.setdefault((kind, provider, model), ([], []))
        if latency is not None:
            latencies.append(latency)
        if first is not None:
            firsts.append(first)
    packed = [
        (*key, *(array("d", sorted(values)).tobytes() for values in columns))
        for key, columns in found.items()
    ]
    return msgspec.msgpack.encode(packed)


def unpack(blob: bytes) -> Latencies:
    """Return the latencies that `pack` has packed."""
    rows = msgspec.msgpack.decode(blob, type=list[tuple[str, str, str, bytes, bytes]])
    return [(*key, _read(latency), _read(first)) for *key, latency, first in rows]  # type: ignore[misc]


def _read(values: bytes) -> array[float]:
    found = array("d")
    found.frombytes(values)
    return found


def measure(
    query: ReportQuery, days: Iterable[tuple[date, Latencies]]
) -> dict[tuple[Any, ...], tuple[float | None, ...]]:
    """Return the percentiles of each group of *query*: 50 and 95 of the latency, then those of the time to first token."""
    groups: dict[tuple[Any, ...], tuple[list[Any], list[Any]]] = {}
    for day, rows in days:
        number = day.toordinal() - EPOCH
        of_day = {"total": "all", "day": number, "week": (number + 3) // 7, "month": f"{day:%Y-%m}"}
        for kind, provider, model, latencies, firsts in rows:
            name = f"{provider}:{model}"
            values = {**of_day, "kind": kind, "provider": provider, "model": name}
            if all(
                value in {values[key], model if key == "model" else None}
                for key, value in query.filters.items()
            ):
                group = groups.setdefault(tuple(values[key] for key in query.dimensions), ([], []))
                group[0].append(latencies)
                group[1].append(firsts)
    return {
        key: (*_find_percentiles(first), *_find_percentiles(second))
        for key, (first, second) in groups.items()
    }


def _find_percentiles(parts: Sequence[Sequence[float]]) -> list[float | None]:
    """Return the percentiles 50 and 95 of all values in the sorted lists *parts*. Without values, both are None."""
    parts = [part for part in parts if part]
    size = sum(map(len, parts))
    if not size:
        return [None] * len(_PERCENTS)
    found: list[float | None] = []
    for percent in _PERCENTS:
        position = percent / 100 * (size - 1)
        rank = int(position)
        low = _find_rank(parts, rank)
        high = _find_rank(parts, rank + 1) if position > rank else low
        found.append(low + (high - low) * (position - rank))
    return found


def _find_rank(parts: Sequence[Sequence[float]], rank: int) -> float:
    """Return the value at the index *rank* in the sorted list of all values."""
    ends = [(0, len(part)) for part in parts]
    while sum(end - start for start, end in ends) > max(_FEW, 4 * len(parts)):
        low = min(part[start] for part, (start, end) in zip(parts, ends, strict=True) if start < end)
        high = max(part[end - 1] for part, (start, end) in zip(parts, ends, strict=True) if start < end)
        middle = low + (high - low) / 2
        if not low < middle < high:
            break
        cuts = [bisect_right(part, middle, *span) for part, span in zip(parts, ends, strict=True)]
        if sum(cuts) > rank:
            ends = [(start, cut) for (start, _), cut in zip(ends, cuts, strict=True)]
        else:
            ends = [(cut, end) for (_, end), cut in zip(ends, cuts, strict=True)]
    before = sum(start for start, _ in ends)
    left = sorted(value for part, (start, end) in zip(parts, ends, strict=True) for value in part[start:end])
    return left[rank - before]
