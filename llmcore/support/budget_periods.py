"""The periods of budgets in UTC: days, months, and all time."""

from __future__ import annotations

import calendar
import functools
import time
from typing import Final

__all__ = ["TOTAL", "get_elapsed", "get_period", "get_periods", "get_reset_time", "get_start_time"]

TOTAL: Final = "total"


def get_periods(at: float) -> tuple[str, str, str]:
    """Return the names of the three periods that contain *at*: day, month, total."""
    return _get_periods(int(at // 86400))


@functools.lru_cache(maxsize=8)
def _get_periods(day: int) -> tuple[str, str, str]:
    text = time.strftime("%Y-%m-%d", time.gmtime(day * 86400))
    return text, text[:7], TOTAL


def get_period(per: str, at: float) -> str:
    """Return the name of the period that contains *at*; *per* is day, month or total."""
    day, month, total = get_periods(at)
    return {"day": day, "month": month}.get(per, total)


def get_start_time(per: str, at: float) -> float:
    """Return when the period that contains *at* began, in seconds since 1970."""
    if per == "day":
        return at // 86400 * 86400
    if per == "month":
        now = time.gmtime(at)
        return (at // 86400 - (now.tm_mday - 1)) * 86400
    return 0.0


def get_reset_time(per: str, at: float) -> str | None:
    """Return when the period ends, in ISO 8601; None for a total."""
    now = time.gmtime(at)
    if per == "day":
        return time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime((at // 86400 + 1) * 86400))
    if per == "month":
        year, month = (now.tm_year, now.tm_mon + 1) if now.tm_mon < 12 else (now.tm_year + 1, 1)  # noqa: PLR2004
        return f"{year:04}-{month:02}-01T00:00:00Z"
    return None


def get_elapsed(per: str, at: float) -> float | None:
    """Return the fraction of the period that has passed at the time *at*, from 0 to 1; None for a total."""
    if per == TOTAL:
        return None
    now = time.gmtime(at)
    days = 1 if per == "day" else calendar.monthrange(now.tm_year, now.tm_mon)[1]
    return (at - get_start_time(per, at)) / (days * 86400)
