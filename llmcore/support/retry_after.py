"""Parse `Retry-After` and its variants: seconds, milliseconds or a date."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["parse_retry_after"]


def parse_retry_after(headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> float | None:
    """Return the seconds to wait; 0 for a date in the past, None if there is no valid header.

    If the host's own backoff is longer, the host waits for the backoff. A date is compared with the server's `Date`
    if there is one, because the server's clock may differ from ours.

    Args:
        headers: The headers of the answer, with names in lower case or in a mapping that ignores case.
        clock: Returns our time in seconds since 1970.
    """
    milliseconds = _parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _parse_number(value)
    if seconds is not None or value is None:
        return seconds
    then = _parse_date(value)
    if then is None:
        return None
    now = _parse_date(headers.get("date"))
    return max(0.0, then - (clock() if now is None else now))


def _parse_number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _parse_date(text: str | None) -> float | None:
    """Return an HTTP date in seconds since 1970."""
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
