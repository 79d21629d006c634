"""Find when a time zone changes its offset from UTC."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["find_offsets", "get_local_offset"]

_STEP_S: Final = 7 * 86400
"""The interval at which offsets are compared. No zone changes its offset twice within a week."""
_EARLIEST_S: Final = 946_684_800
"""The year 2000. Earlier rows get the offset of this moment."""
_LATEST_S: Final = 7_258_118_400
"""The year 2200. Later rows get the offset of this moment."""


def get_local_offset(at: float) -> int:
    """Return the seconds that the clock of this machine is ahead of UTC at the moment *at*."""
    return time.localtime(at).tm_gmtoff


def find_offsets(get_offset: Callable[[float], int], since: float, until: float) -> Sequence[tuple[int, int]]:
    """Return the offsets from UTC in a period, as pairs of a moment and the offset from that moment on, latest first.

    The last pair has the start of the period. Each other pair has a moment at which the offset changes.

    Args:
        get_offset: Returns the offset in seconds at a moment.
        since: The start of the period, in seconds since 1970.
        until: The end of the period, in seconds since 1970.
    """
    start, end = int(max(since, _EARLIEST_S)), int(min(max(until, since, _EARLIEST_S), _LATEST_S)) + 1
    found = [(start, get_offset(start))]
    for right in range(start + _STEP_S, end + _STEP_S, _STEP_S):
        left, before, after = right - _STEP_S, found[-1][1], get_offset(right)
        if before != after:
            low, high = left, right
            while high - low > 1:
                middle = (low + high) // 2
                if get_offset(middle) == before:
                    low = middle
                else:
                    high = middle
            found.append((high, after))
    return found[::-1]
