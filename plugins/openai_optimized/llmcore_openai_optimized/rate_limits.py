"""Read the rate limits in the headers of an answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from llmcore.types import RateLimits

__all__ = ["get_raw_headers", "parse_duration", "read_rate_limits"]

_PREFIX: Final = b"x-ratelimit-"
_FIELDS: Final[Mapping[bytes, str]] = {
    b"limit-requests": "requests_limit",
    b"remaining-requests": "requests_remaining",
    b"reset-requests": "requests_reset_s",
    b"limit-tokens": "tokens_limit",
    b"remaining-tokens": "tokens_remaining",
    b"reset-tokens": "tokens_reset_s",
}
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)", re.ASCII)
_MOST_DIGITS: Final = 18


def read_rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Return the rate limits; None if the headers contain no valid limit.

    Source: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    found: dict[str, Any] = {}
    for name, value in get_raw_headers(headers):
        if name[:1] in b"xX" and (low := name.lower()).startswith(_PREFIX):
            field = _FIELDS.get(low[len(_PREFIX) :])
            if field is not None:
                number = (
                    parse_duration(value.decode("latin-1")) if field.endswith("_s") else _parse_count(value)
                )
                if number is not None:
                    found[field] = number
    return RateLimits(**found) if found else None


@lru_cache(maxsize=256)
def parse_duration(text: str) -> float | None:
    """Return the seconds in a duration such as "20ms", "1.2s", "6m0s" or "60"; None if *text* is not a duration."""
    text = text.partition(",")[0].strip()  # read the first of two headers, which are joined by a comma
    total, at = 0.0, 0
    while match := _PART.match(text, at):
        total += float(match[1]) * _SECONDS[match[2]]
        at = match.end()
    if at != len(text) or not text:
        try:
            total = float(text)
        except ValueError:
            return None
    return total if math.isfinite(total) and total >= 0 else None


def _parse_count(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) <= _MOST_DIGITS else None


def get_raw_headers(headers: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    """Return names and values as received. Names may be in upper or lower case."""
    # The raw headers of httpx2 are far faster to read than headers that are looked up by name.
    raw: Iterable[tuple[bytes, bytes]] | None = getattr(headers, "raw", None)
    if raw is not None:
        return raw
    return [(name.encode(), value.encode()) for name, value in headers.items()]
