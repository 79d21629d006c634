"""Convert the key and the TTL (time to live) that an application gives to those of a cache backend."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Final

from llmcore.errors import CacheError
from llmcore.support.digests import start_sha256
from llmcore.units import Duration

__all__ = ["PREFIX", "Ttl", "make_backend_key", "make_stamp_key", "parse_ttl"]

Ttl = float | str | timedelta | None
"""Time to live: seconds, "1h" or a timedelta; None is the configured TTL."""

PREFIX: Final = "v:"
"""Prefix of application keys in the backend, which also stores replies."""
_STAMP_PREFIX: Final = "t:"
"""Prefix of tag stamps."""
_MAX_LENGTH: Final = 400


def parse_ttl(ttl: Ttl) -> float | None:
    """Return *ttl* in seconds; None for the configured TTL.

    Raises:
        CacheError: *ttl* is not a duration greater than 0.
    """
    if ttl is None:
        return None
    found = 0.0
    with contextlib.suppress(ValueError):
        found = float(Duration.parse(ttl))
    if found:
        return found
    raise CacheError(
        f"ttl must be a duration greater than 0, got {ttl!r}",
        code="LC702",
        expected=Duration.expected,
        fix="@cache.cached()" if callable(ttl) else None,
    )


def make_backend_key(key: str) -> str:
    """Return the backend key of *key*.

    Raises:
        CacheError: *key* is empty or not text.
    """
    return PREFIX + _shorten(key, "key")


def make_stamp_key(tag: str) -> str:
    """Return the backend key of the stamp of *tag*. Raises the same errors as `make_backend_key`."""
    return _STAMP_PREFIX + _shorten(tag, "tag")


def _shorten(text: str, what: str) -> str:
    if not isinstance(text, str) or not text:
        raise CacheError(f"a {what} must be text that is not empty, got {text!r}", code="LC703")
    if len(text) > _MAX_LENGTH:
        return f"{text[:_MAX_LENGTH]}#{start_sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return text
