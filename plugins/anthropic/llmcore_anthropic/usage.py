"""Read the usage and the rate limits of an answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from llmcore.types import RateLimits, Usage

__all__ = ["estimate_usage", "read_limits", "read_usage"]

_MOST_DIGITS: Final = 18
_BYTES_PER_TOKEN: Final = 3


def read_usage(document: Any) -> Usage | None:
    """Return the usage of a message; None if the usage is missing or contains values that are not counts.

    Anthropic's `input_tokens` exclude tokens read from or written to the cache; here `input_tokens` includes them.
    """
    if not isinstance(document, Mapping):
        return None
    creation = document.get("cache_creation")
    details = document.get("output_tokens_details")
    counts: list[Any] = [
        document.get("input_tokens"),
        document.get("output_tokens"),
        document.get("cache_read_input_tokens") or 0,
        document.get("cache_creation_input_tokens") or 0,
        (creation.get("ephemeral_1h_input_tokens") or 0) if isinstance(creation, Mapping) else 0,
        (details.get("thinking_tokens") or 0) if isinstance(details, Mapping) else 0,
    ]
    if not all(type(count) is int and 0 <= count < 10**_MOST_DIGITS for count in counts):
        return None
    new, output, read, written, hour, thinking = counts
    return Usage(
        input_tokens=new + read + written,
        output_tokens=output,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_12h_tokens=min(hour, written),
        reasoning_tokens=min(thinking, output),
    )


def estimate_usage(sent: int, received: int) -> Usage:
    """Return an estimate for an answer without usage, from the bytes of the request and of the answer."""
    return Usage(
        input_tokens=sent // _BYTES_PER_TOKEN + 1,
        output_tokens=received // _BYTES_PER_TOKEN + 1,
        estimated=True,
    )


def read_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Return the rate limits in the headers `anthropic-ratelimit-*`; None if no such header exists.

    Source: https://platform.claude.com/docs/en/api/rate-limits#response-headers
    """
    found: dict[str, Any] = {}
    for kind in ("requests", "tokens"):
        for part in ("limit", "remaining"):
            value = headers.get(f"anthropic-ratelimit-{kind}-{part}", "")
            if value.isdecimal() and len(value) <= _MOST_DIGITS:
                found[f"{kind}_{part}"] = int(value)
        seconds = _read_reset(headers.get(f"anthropic-ratelimit-{kind}-reset", ""), headers.get("date", ""))
        if seconds is not None:
            found[f"{kind}_reset_s"] = seconds
    return RateLimits(**found) if found else None


def _read_reset(moment: str, now: str) -> float | None:
    """Return the seconds until *moment*; None if *moment* is not a time.

    *now* is the header `date`, the time of the server. Without a valid header, the clock of this machine is used.
    """
    try:
        until = datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError):
        return None
    try:
        return max(0.0, until - parsedate_to_datetime(now).timestamp())
    except (ValueError, TypeError, OverflowError):
        return max(0.0, until - time.time())
