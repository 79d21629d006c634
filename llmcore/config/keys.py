"""Dotted keys as people write them: `cache.redis.url`, `prices."openai:gpt-6".input`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmcore.errors import ConfigError

__all__ = ["Path", "dotted", "index_of", "nearest", "split"]

Path = tuple[str, ...]

_BARE = r"[A-Za-z0-9_-]+"
_SEGMENT = r"""\s*(?:([^\s."'=]+)|"([^"\\]*)"|'([^']*)')\s*(\.|$)"""


def dotted(path: Iterable[str]) -> str:
    """Return the key as TOML writes it, quoted where it must be."""
    return ".".join(part if re.fullmatch(_BARE, part) else f'"{part}"' for part in path)


def split(key: str | Path) -> Path:
    """Return the parts of a dotted key.

    Raises:
        ConfigError: It is empty, or its dots and quotes do not fit.
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
            f"not a key: {key!r}",
            code="LC102",
            expected='names with dots between them, quoted where they hold dots: prices."openai:gpt-6.1".input',
        )
    return tuple(parts)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that *name* was probably meant to be."""
    from difflib import get_close_matches

    found = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def index_of(part: str) -> int | None:
    """Return the number that *part* of a key is, for an entry of a list; None where it is a name."""
    return int(part) if re.fullmatch(r"0|[1-9][0-9]{0,8}", part) else None
