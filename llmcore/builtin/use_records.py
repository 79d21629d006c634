"""Record approximately when and how often the entries of a file cache were used.

Only the eviction reads these records. The records are in a separate file, `use.map`, next to the LMDB file.
If they were in the LMDB file, writing a record would wait for other writers, rewrite a value, and make the
data look changed. The file is a table of 8-byte cells in native byte order. A cell contains, from the lowest
bits to the highest::

    tag      16 bits of the entry's CRC; the lowest bits of the CRC select the cell
    count     8 bits, logarithmic as in Redis: the larger it is, the less likely a use increases it
    time     40 bits, units of 2**24 ns since 1970-01-01 UTC

The records are neither checked nor locked. If a record is lost, damaged or overwritten by the record of
another entry, the entry loses its rank in the eviction, but never its value. While the cache is less than
half full, no entry will be evicted soon, so the last use is not recorded for `lru`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["SAMPLE", "UseRecords"]

_NAME: Final = "use.map"
_NEW: Final = 5
"""The count of an entry without a hit. The value is not 0, so that new entries are not evicted first."""

_CELL: Final = 8
_AGE_CELL: Final = 0
"""The index of a special cell, which contains the idle time, in nanoseconds, of an evicted entry.

An eviction writes this cell if the idle time of the evicted entry is less than half or more than twice that number.
"""
_BYTES_A_CELL: Final = 1024
_FEWEST, _MOST = 2**12, 2**22
_TIME: Final = ~0xFFFFFF
_SLACK_NS: Final = 10**9
"""A record whose time is more than this many nanoseconds in the future is ignored: a wrong clock wrote it."""
_SHORTEST_NS, _LONGEST_NS = 2**25, 3650 * 86400 * 10**9
_AGE_NS: Final = 3600 * 10**9
"""The assumed idle time of evicted entries, in nanoseconds, before the first eviction."""
_FRESH: Final = 16
"""A record is renewed when it is older than 1/16 of the idle time of evicted entries, so that entries in use never look unused."""
_DECAY: Final = 16
"""A count decreases by one after each period without a new record.

The period is this many times the idle time of evicted entries.
"""
_ROOMY_NS: Final = 5 * 10**9
"""Maximum nanoseconds for which `roomy` is valid. After that, the size of the cache is read again."""
_SLOWNESS: Final = 10
_MOST_RECENT: Final = 2**14
SAMPLE: Final = 8
"""For `lfu`, one of 8 hits is recorded, and the record counts for all 8."""


class UseRecords:
    """The records of one folder. If the file cannot be opened, uses are not recorded."""

    def __init__(
        self,
        folder: Path,
        max_size: int,
        *,
        counted: bool,
        chance: Callable[[], float],
        live_bytes: Callable[[], int],
    ) -> None:
        """Open or create the file.

        Args:
            folder: The folder of the cache.
            max_size: The maximum size of the cache in bytes.
            counted: True records the frequency; False records only the time of the last use.
            chance: Returns numbers from 0 to 1.
            live_bytes: Returns the number of bytes of the cache that are in use.
        """
        self.counted = counted
        self.roomy = False
        """True if the last use need not be recorded, because the cache is less than half full."""
        self.recent: set[str] = set()
        """The keys whose last use was recorded recently or need not be recorded."""
        self.until = 0
        """The time until which `roomy` and `recent` are valid."""
        self._chance = chance
        self._live_bytes = live_bytes
        self._half = max_size // 2
        self._file: _File | None = None
        self._cells = memoryview(bytes(_CELL)).cast("Q")
        self._mask = 0
        wanted = min(max(_FEWEST, 2 ** (max_size // _BYTES_A_CELL).bit_length()), _MOST)
        if sys.platform != "win32":  # Windows has no `pwrite`, so uses are not recorded there
            with contextlib.suppress(OSError, ValueError):
                self._open(folder / _NAME, wanted)
        self._age = _AGE_NS
        self._set_idle_time(self._cells[_AGE_CELL])

    def record_hit(self, key: str, data: bytes, written: int, now: int) -> None:
        """Record that the entry *data* of *key* was used.

        Not every hit needs a call. If uses are counted, call this for one in `SAMPLE` hits. Otherwise call
        this if the time `until` has passed, or if *key* is not in `recent` and the cache is not `roomy`.
        """
        if self._file is None:
            return
        fresh = self._age // _FRESH
        mark = int.from_bytes(data[-4:], "little")
        if self.counted:
            before, noted = self._read_record(mark, now)
            idle = now - max(noted, written)
            count = _increment_count(self._decay_count(before, idle), SAMPLE, self._chance)
            if count != before or idle >= fresh:
                self._write(mark & self._mask, now & _TIME | count << 16 | mark >> 16)
            return
        if now >= self.until or len(self.recent) >= _MOST_RECENT:
            self._set_idle_time(self._cells[_AGE_CELL])
            self.roomy = self._live_bytes() < self._half
            self.recent, self.until = set(), now + (min(fresh, _ROOMY_NS) if self.roomy else fresh)
        if self.roomy:
            return
        self.recent.add(key)
        if now - written < fresh:
            return
        count, noted = self._read_record(mark, now)
        if now - noted >= fresh:
            self._write(mark & self._mask, now & _TIME | count << 16 | mark >> 16)

    def rank(self, data: bytes | memoryview, written: int, now: int) -> tuple[int, int]:
        """Return the rank of an entry in the eviction.

        The rank is the count (0 if uses are not counted), followed by the time of the last use.
        """
        mark = int.from_bytes(data[-4:], "little")
        count, used = self._read_record(mark, now)
        used = max(used, written)
        return (self._decay_count(count, now - used) if self.counted else 0), used

    def record_idle_time(self, age: int) -> None:
        """Receive the idle time, in nanoseconds, of an evicted entry.

        The time is recorded only if it differs from the recorded time by more than a factor of 2.
        """
        if not self._age // 2 <= age <= self._age * 2:
            self._set_idle_time(max(1, age))
            self.until = 0
            self._write(_AGE_CELL, self._age)

    def close(self) -> None:
        """Release the file. The file is closed when no thread is writing a record."""
        self._file = None

    def _open(self, path: Path, wanted: int) -> None:
        file = _File(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))
        size = os.fstat(file.fd).st_size
        if size < wanted * _CELL:
            size = wanted * _CELL
            os.ftruncate(file.fd, size)  # a sparse file: it uses no disk space until it is written
        cells = 2 ** ((size // _CELL).bit_length() - 1)
        # The map is read-only, because a write to a map kills the process if the disk is full.
        self._cells = memoryview(mmap.mmap(file.fd, cells * _CELL, access=mmap.ACCESS_READ)).cast("Q")
        self._mask = cells - 1
        self._file = file

    def _read_record(self, mark: int, now: int) -> tuple[int, int]:
        """Return the recorded count and last use; without a record, the values of a new entry."""
        at = mark & self._mask
        cell = self._cells[at]
        if at == _AGE_CELL or cell & 0xFFFF != mark >> 16 or cell > now + _SLACK_NS:
            return _NEW, 0
        return cell >> 16 & 0xFF, cell & _TIME

    def _decay_count(self, count: int, idle: int) -> int:
        return max(0, count - max(0, idle) // (_DECAY * self._age))

    def _write(self, at: int, cell: int) -> None:
        file = self._file
        if file is not None and sys.platform != "win32":
            with contextlib.suppress(OSError, OverflowError):  # a full disk, or a clock that is far off
                os.pwrite(file.fd, cell.to_bytes(_CELL, sys.byteorder), at * _CELL)

    def _set_idle_time(self, age: int) -> None:
        if age:
            self._age = min(max(age, _SHORTEST_NS), _LONGEST_NS)


class _File:
    """A file descriptor that is closed when its last reference is dropped, so never while a thread writes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def _increment_count(count: int, weight: int, chance: Callable[[], float]) -> int:
    """Return the logarithmic *count* after *weight* more hits."""
    return min(255, count + (chance() * max(1, (count - _NEW) * _SLOWNESS) < weight))
