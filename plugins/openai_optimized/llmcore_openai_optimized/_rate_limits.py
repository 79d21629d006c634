"""What a server says of its rate limits, in its headers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from llmcore.types import RateLimits

__all__ = ["rate_limits", "seconds_in"]

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


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Return what the headers say; None where they say nothing that can be used.

    Source: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    found: dict[str, Any] = {}
    for name, value in _raw(headers):
        if name[:1] in b"xX" and (low := name.lower()).startswith(_PREFIX):
            field = _FIELDS.get(low[len(_PREFIX) :])
            if field is not None:
                said = seconds_in(value.decode("latin-1")) if field.endswith("_s") else _count(value)
                if said is not None:
                    found[field] = said
    return RateLimits(**found) if found else None


@lru_cache(maxsize=256)
def seconds_in(text: str) -> float | None:
    """Return the seconds of a duration such as "20ms", "1.2s", "6m0s" or "60"; None where it is none."""
    text = text.partition(",")[0].strip()  # two headers that became one
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


def _count(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) <= _MOST_DIGITS else None


def _raw(headers: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    raw: Iterable[tuple[bytes, bytes]] | None = getattr(
        headers, "raw", None
    )  # far cheaper than asking by name
    if raw is not None:
        return raw
    return [(name.encode(), value.encode()) for name, value in headers.items()]
