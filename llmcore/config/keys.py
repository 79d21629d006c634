"""Dotted keys: `cache.redis.url`, `prices."openai:gpt-6".input`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmcore.errors import ConfigError

__all__ = ["Path", "find_nearest", "format_key", "parse_index", "parse_key"]

Path = tuple[str, ...]

_BARE = r"[A-Za-z0-9_-]+"
_SEGMENT = r"""\s*(?:([^\s."'=]+)|"([^"\\]*)"|'([^']*)')\s*(\.|$)"""


def format_key(path: Iterable[str]) -> str:
    """Return the key in TOML syntax, quoted where needed."""
    return ".".join(part if re.fullmatch(_BARE, part) else f'"{part}"' for part in path)


def parse_key(key: str | Path) -> Path:
    """Return the parts of a dotted key.

    Raises:
        ConfigError: The key is empty or malformed.
    """
    if isinstance(key, tuple):
        return key
    parts, at, segment = [], 0, re.compile(_SEGMENT)
    while match := segment.match(key, at):
        parts.append(match[1] or match[2] or match[3] or "")
        at = match.end()
        if match[4] != ".":
            break
    if not parts or at != len(key) or not all(parts) or key.rstrip().endswith("."):
        raise ConfigError(
            f"a key must be names separated by dots, got {key!r}",
            code="LC102",
            expected='names separated by dots; a name that contains dots in quotes: prices."openai:gpt-6.1".input',
        )
    return tuple(parts)


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to *name*; None if none is similar."""
    from difflib import get_close_matches

    found = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def parse_index(part: str) -> int | None:
    """Return *part* of a key as the index of a list; None if it is a name."""
    return int(part) if re.fullmatch(r"0|[1-9][0-9]{0,8}", part) else None
