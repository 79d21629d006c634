"""Shorten texts of a server for errors, and remove keys from them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["scrub"]

_LONGEST: Final = 600
_KEY_LIKE: Final = re.compile(
    r"\S*\*{3,}\S*"  # how vendors abbreviate a key that they repeat
    r"|(?<=key provided: )\S+"
    r"|\b(?:sk|pk|rk|sess|key|gsk|xai|hf|fw|csk|nvapi|pplx|tgp)[-_][\w\-]{6,}"
    r"|\bAIza[\w\-]{20,}"
    r"|(?i:bearer)\s+\S+"
    r"|(?i:(?<=[?&]key=)|(?<=api[-_]key=)|(?<=api[-_]key: ))[^\s&\"']+"
    r"|\b[A-Za-z0-9+/]{40,}={0,2}"
)


def scrub(text: str, *secrets: str | None) -> str:
    """Return *text* as one line of at most 600 characters, without *secrets* and other texts that look like keys."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    text = _KEY_LIKE.sub("…", " ".join(text.split()))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
