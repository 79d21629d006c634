"""Remembers about when and how often the entries of a file cache were used, for the eviction alone.

The notes lie in a file of their own, `use.map`, beside the data: a hit must not wait for a writer, rewrite a value, or
make the data look changed, all of which a note inside LMDB would do. It is a table of cells of 8 bytes in the
machine's order, from the lowest bit on::

    tag      16 bits, of the entry's CRC; the lowest bits of the CRC say which cell
    count     8 bits, logarithmic, as Redis's: the larger it is, the less likely is a use to raise it
    time     40 bits, units of 2**24 ns since 1970-01-01 UTC

Nothing here is checked or locked. A note that is lost, torn, flipped or overwritten by another entry's costs that
entry its rank in the eviction, and never its value. While the cache is not half full, nothing will have to go soon, and
the last use is not noted at all.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["NEW", "SAMPLE", "Uses", "raised"]

NAME: Final = "use.map"
NEW: Final = 5
"""The count of an entry that nobody asked for yet: not 0, so that it gets the time to be asked for."""

_CELL: Final = 8
_AGE_CELL: Final = 0
"""Holds no note, but the nanoseconds for which what was evicted last had not been used."""
_BYTES_A_CELL: Final = 1024
_FEWEST, _MOST = 2**12, 2**22
_TIME: Final = ~0xFFFFFF
_SLACK_NS: Final = 10**9
"""A note from later than that is from a clock that was wrong."""
_SHORTEST_NS, _LONGEST_NS = 2**25, 3650 * 86400 * 10**9
_AGE_NS: Final = 3600 * 10**9
"""Taken for the age of what is evicted before anything was."""
_FRESH: Final = 16
"""A note is renewed after this part of that age, so that what is always in use never looks like what is not."""
_DECAY: Final = 16
"""A count goes down by one in as many such ages without a note."""
_ROOMY_NS: Final = 5 * 10**9
"""How long a file that has room is taken to have it."""
_SLOWNESS: Final = 10
_MOST_RECENT: Final = 2**14
SAMPLE: Final = 8
"""Where uses are counted, one in so many is, for all of them."""


class Uses:
    """The notes of one folder; without effect where the file cannot be had."""

    def __init__(
        self,
        folder: Path,
        max_size: int,
        *,
        counted: bool,
        chance: Callable[[], float],
        live_bytes: Callable[[], int],
    ) -> None:
        """Open or make the file.

        Args:
            folder: Of the cache.
            max_size: Of the cache, in bytes.
            counted: Whether frequency matters, or the time of the last use alone.
            chance: Returns numbers from 0 to 1.
            live_bytes: Tells how many bytes of the cache are in use.
        """
        self.counted = counted
        self.roomy = False
        """Whether the last use needs no note: the cache is not half full, and until it is, all in use is used again."""
        self.recent: set[str] = set()
        """Keys of which a note was taken lately, or need not be."""
        self.until = 0
        """When that is over."""
        self._chance = chance
        self._live_bytes = live_bytes
        self._half = max_size // 2
        self._file: _File | None = None
        self._cells = memoryview(bytes(_CELL)).cast("Q")
        self._mask = 0
        wanted = min(max(_FEWEST, 2 ** (max_size // _BYTES_A_CELL).bit_length()), _MOST)
        if sys.platform != "win32":  # no `pwrite` there: entries go by the time they were written
            with contextlib.suppress(OSError, ValueError):
                self._open(folder / NAME, wanted)
        self._age = _AGE_NS
        self._learn(self._cells[_AGE_CELL])

    def hit(self, key: str, data: bytes, written: int, now: int) -> None:
        """Note that the entry *data* of *key* was used.

        Not to be called each time: where uses are counted for one in `SAMPLE`, else where `until` is over, or *key* is
        not in `recent` and the cache is not `roomy`.
        """
        if self._file is None:
            return
        fresh = self._age // _FRESH
        mark = int.from_bytes(data[-4:], "little")
        if self.counted:
            before, noted = self._noted(mark, now)
            idle = now - max(noted, written)
            count = raised(self._decayed(before, idle), SAMPLE, self._chance)
            if count != before or idle >= fresh:
                self._write(mark & self._mask, now & _TIME | count << 16 | mark >> 16)
            return
        if now >= self.until or len(self.recent) >= _MOST_RECENT:
            self._learn(self._cells[_AGE_CELL])
            self.roomy = self._live_bytes() < self._half
            self.recent, self.until = set(), now + (min(fresh, _ROOMY_NS) if self.roomy else fresh)
        if self.roomy:
            return
        self.recent.add(key)
        if now - written < fresh:
            return
        count, noted = self._noted(mark, now)
        if now - noted >= fresh:
            self._write(mark & self._mask, now & _TIME | count << 16 | mark >> 16)

    def rank(self, data: bytes | memoryview, written: int, now: int) -> tuple[int, int]:
        """Return how much an entry is worth to be kept: its count, 0 where none matters, and its last use."""
        mark = int.from_bytes(data[-4:], "little")
        count, used = self._noted(mark, now)
        used = max(used, written)
        return (self._decayed(count, now - used) if self.counted else 0), used

    def turned_over(self, age: int) -> None:
        """Learn for how many nanoseconds the last entry that was evicted had not been used."""
        if not self._age // 2 <= age <= self._age * 2:
            self._learn(max(1, age))
            self.until = 0
            self._write(_AGE_CELL, self._age)

    def close(self) -> None:
        """Let go of the file, as soon as no thread is in the middle of a note."""
        self._file = None

    def _open(self, path: Path, wanted: int) -> None:
        file = _File(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))
        size = os.fstat(file.fd).st_size
        if size < wanted * _CELL:
            size = wanted * _CELL
            os.ftruncate(file.fd, size)  # takes no room on the disk until it is written to
        cells = 2 ** ((size // _CELL).bit_length() - 1)
        # Only read through the map: on a full disk, writing to one kills the process.
        self._cells = memoryview(mmap.mmap(file.fd, cells * _CELL, access=mmap.ACCESS_READ)).cast("Q")
        self._mask = cells - 1
        self._file = file

    def _noted(self, mark: int, now: int) -> tuple[int, int]:
        """Return the count and the last use that were noted; those of a new entry where nothing is."""
        at = mark & self._mask
        cell = self._cells[at]
        if at == _AGE_CELL or cell & 0xFFFF != mark >> 16 or cell > now + _SLACK_NS:
            return NEW, 0
        return cell >> 16 & 0xFF, cell & _TIME

    def _decayed(self, count: int, idle: int) -> int:
        return max(0, count - max(0, idle) // (_DECAY * self._age))

    def _write(self, at: int, cell: int) -> None:
        file = self._file
        if file is not None and sys.platform != "win32":
            with contextlib.suppress(OSError, OverflowError):  # a full disk, or a clock that is far off
                os.pwrite(file.fd, cell.to_bytes(_CELL, sys.byteorder), at * _CELL)

    def _learn(self, age: int) -> None:
        if age:
            self._age = min(max(age, _SHORTEST_NS), _LONGEST_NS)


class _File:
    """Closes its descriptor with the last reference to it: never under a thread that is about to write."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def raised(count: int, weight: int, chance: Callable[[], float]) -> int:
    """Return *count* after *weight* hits, which it shows by and large."""
    return min(255, count + (chance() * max(1, (count - NEW) * _SLOWNESS) < weight))
