"""The rules for storage keys, and the content type of each file extension.

The rules are the same for every storage. An acceptable key names one file. The key names the same file on every
system and in every object store, and this file is always inside the root.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from llmcore.errors import StorageKeyError

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_PARTS",
    "MAX_PART_BYTES",
    "TEMPORARY",
    "find_key_fault",
    "find_part_fault",
    "get_content_type",
    "parse",
    "parse_prefix",
]

MAX_KEY_BYTES: Final = 1024
"""Maximum length of a key in bytes; object stores have this limit."""
MAX_PARTS: Final = 64
MAX_PART_BYTES: Final = 255
TEMPORARY: Final = ".llmcore-tmp-"
"""The prefix of a storage's internal names, such as unfinished files and probes.

No part of a key may begin with it.
"""

_EXPECTED: Final = 'parts joined by "/", such as "reports/2026/november.txt"'
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_\-]{4,200}(?:\.[A-Za-z0-9_\-]{1,20})?")
"""Matches parts that need no further check: at least five characters, then at most one dot with an ending.

Reserved names such as `con` and `com1` are shorter, or contain the character `$`.

This check makes listings faster.
"""
_PLAIN_KEY: Final = re.compile(rf"{_PLAIN.pattern}(?:/{_PLAIN.pattern})*")
_PLAIN_KEY_LENGTH: Final = 256
"""A plain key of at most this length cannot have too many parts or too many bytes."""
_RESERVED: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\xb9\xb2\xb3])[ ]*(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
)
_TYPES: Final = mimetypes.MimeTypes()
for _type, _ending in (  # older versions of Python do not know these types
    ("audio/flac", ".flac"), ("audio/ogg", ".ogg"), ("audio/ogg", ".opus"), ("image/webp", ".webp"),
    ("text/markdown", ".md"),
):  # fmt: skip
    _TYPES.add_type(_type, _ending)
_SHOWN: Final = 80
_FORBIDDEN: Final = re.compile(r'[<>:"|?*\\/]')


def parse(key: object) -> tuple[str, ...]:
    """Return the parts of *key*.

    Raises:
        StorageKeyError: The key is not acceptable.
    """
    text = _check_text(key, "key")
    if not text:
        raise _make_error(text, "a key must not be empty")
    parts = tuple(text.split("/"))
    _check(text, parts)
    return parts


def parse_prefix(prefix: object) -> tuple[tuple[str, ...], str]:
    """Split *prefix* into its folders and the beginning of the names in the last folder.

    Raises:
        StorageKeyError: No key can begin with *prefix*.
    """
    text = _check_text(prefix, "prefix")
    *folders, beginning = text.split("/")
    _check(text, tuple(folders))
    if beginning and (reason := _find_text_fault(beginning)):
        raise _make_error(text, reason)
    return tuple(folders), beginning


def find_key_fault(key: str) -> str | None:
    """Return why *key* is not acceptable; None if it is acceptable.

    Use this function for lists that contain names from other programs.
    """
    if len(key) <= _PLAIN_KEY_LENGTH and _PLAIN_KEY.fullmatch(key):
        return None
    return _find_fault(key, tuple(key.split("/"))) if key else "a key must not be empty"


def find_part_fault(part: str) -> str | None:
    """Return why *part* cannot be a part of a key; None if it is acceptable."""
    return None if _PLAIN.fullmatch(part) else next(_find_part_faults(part), None)


def get_content_type(key: str) -> str | None:
    """Return the media type for the extension of *key*, such as "text/plain"; None if unknown.

    The table is Python's own, because the tables of operating systems differ.
    """
    kind, packed = _TYPES.guess_type(key.rpartition("/")[2].lower())
    return f"application/{packed}" if packed else kind


def _find_part_faults(part: str) -> Iterator[str]:
    if not part:
        yield 'a key must not begin or end with "/" or contain "//"'
    if part in (".", ".."):
        yield f'"{part}" is not allowed in a key'
    if reason := _find_text_fault(part):
        yield reason
    if forbidden := _FORBIDDEN.search(part):
        yield f"{forbidden[0]!r} is not allowed in a key: it has a special meaning on some systems"
    if part.endswith((".", " ")):
        yield f"the part {part!r} ends with a dot or a space, which some systems drop"
    if _RESERVED.fullmatch(part):
        yield f"{part!r} is a device name on some systems"
    if part.casefold().startswith(TEMPORARY):
        yield f"a part must not begin with {TEMPORARY!r}, which the storage uses for temporary files"
    if len(part.encode()) > MAX_PART_BYTES:
        yield f"each part must have at most {MAX_PART_BYTES} bytes, got {len(part.encode())}"


def _find_text_fault(text: str) -> str | None:
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            return f"{character!a} is a lone surrogate, which cannot be encoded"
        if category in ("Cc", "Zl", "Zp"):
            return f"the control character {character!a} is not allowed in a key"
    if not unicodedata.is_normalized("NFC", text):
        return f"{text!a} is not in the Unicode form NFC, so another key can look the same"
    return None


def _check_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise StorageKeyError(f"{what} must be text, got {type(value).__name__}", expected=_EXPECTED)
    return value


def _check(text: str, parts: tuple[str, ...]) -> None:
    if reason := _find_fault(text, parts):
        raise _make_error(text, reason)


def _find_fault(text: str, parts: tuple[str, ...]) -> str | None:
    if len(parts) > MAX_PARTS:
        return f"a key must have at most {MAX_PARTS} parts, got {len(parts)}"
    for part in parts:
        if reason := find_part_fault(part):
            return reason
    if len(text) > MAX_KEY_BYTES or len(text.encode(errors="replace")) > MAX_KEY_BYTES:
        return f"a key must have at most {MAX_KEY_BYTES} bytes"
    return None


def _make_error(text: str, reason: str) -> StorageKeyError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\u2026"
    better = _suggest_key(text)
    return StorageKeyError(
        f"the key is not acceptable: {reason}",
        where=f"key {shown!a}",
        expected=_EXPECTED,
        fix=f"write the key as {better!r}" if better else None,
    )


def _suggest_key(text: str) -> str | None:
    """Return the acceptable key that *text* most likely means; None if no key is likely."""
    parts = unicodedata.normalize("NFC", text[:MAX_KEY_BYTES]).replace("\\", "/").split("/")
    if ".." in parts or ":" in parts[0]:
        return None
    parts = [part.rstrip(". ") if part not in ("", ".") else "" for part in parts]
    better = "/".join(part for part in parts if part)
    acceptable = better != text and better and not any(find_part_fault(part) for part in better.split("/"))
    return better if acceptable and len(text) <= MAX_KEY_BYTES else None
