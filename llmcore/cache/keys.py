"""Keys and times to live, as an application writes them and as a backend takes them."""

from __future__ import annotations

import contextlib
import hashlib
import re
from datetime import timedelta
from typing import Final

from llmcore.errors import CacheError
from llmcore.units import Duration

__all__ = ["PREFIX", "STAMP_PREFIX", "Ttl", "backend_key", "matcher", "seconds", "stamp_key"]

Ttl = float | str | timedelta | None
"""How long a value lives: seconds, "1h", a timedelta; None takes the configured time."""

PREFIX: Final = "v:"
"""In front of users' keys in the backend, which also keeps replies."""
STAMP_PREFIX: Final = "t:"
"""In front of the stamps of tags."""
_LONGEST: Final = 400


def seconds(ttl: Ttl) -> float | None:
    """Return *ttl* in seconds; None for the configured time.

    Raises:
        CacheError: It is none, or not above zero.
    """
    if ttl is None:
        return None
    found = 0.0
    with contextlib.suppress(ValueError):
        found = float(Duration.parse(ttl))
    if found:
        return found
    raise CacheError(
        f"not a time to live: {ttl!r}",
        code="LC702",
        expected=f"above zero: {Duration.expected}",
        fix="@cache.cached()" if callable(ttl) else None,
    )


def backend_key(key: str) -> str:
    """Return what *key* is called in the backend.

    Raises:
        CacheError: It is not a text, or empty.
    """
    return PREFIX + _shortened(key, "key")


def stamp_key(tag: str) -> str:
    """Return where the stamp of *tag* is kept. Raises as `backend_key`."""
    return STAMP_PREFIX + _shortened(tag, "tag")


def matcher(pattern: str) -> re.Pattern[str]:
    """Return what recognises the keys that `delete_matching` would forget for *pattern*."""
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(each) or re.escape(each) for each in pattern), re.DOTALL)


def _shortened(text: str, what: str) -> str:
    if not isinstance(text, str) or not text:
        raise CacheError(f"not a {what}: {text!r}", code="LC703", expected="a text that is not empty")
    if len(text) > _LONGEST:
        return f"{text[:_LONGEST]}#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return text
