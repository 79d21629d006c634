"""What every storage agrees on: which keys are acceptable, and which content type their endings tell.

A key that is accepted names one file, the same on every system and in every object store, and never leaves its root.
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
    "content_type",
    "fault_of_part",
    "parse",
    "parse_prefix",
]

MAX_KEY_BYTES: Final = 1024
"""As long as the object stores allow."""
MAX_PARTS: Final = 64
MAX_PART_BYTES: Final = 255
TEMPORARY: Final = ".llmcore-tmp-"
"""How the names begin that a storage keeps to itself: unfinished files, probes. No key's part begins so."""

_EXPECTED: Final = 'parts joined by "/", such as "reports/2026/november.txt"'
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_\-]{4,200}(?:\.[A-Za-z0-9_\-]{1,20})?")
"""Certainly fine: too long for a reserved name, with one dot inside at most. Spares listings the long way."""
_RESERVED: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\xb9\xb2\xb3])[ ]*(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
)
_TYPES: Final = mimetypes.MimeTypes()
for _type, _ending in (  # what older Pythons do not know
    ("audio/flac", ".flac"), ("audio/ogg", ".ogg"), ("audio/ogg", ".opus"), ("image/webp", ".webp"),
    ("text/markdown", ".md"),
):  # fmt: skip
    _TYPES.add_type(_type, _ending)
_SHOWN: Final = 80
_FORBIDDEN: Final = re.compile(r'[<>:"|?*\\/]')


def parse(key: object) -> tuple[str, ...]:
    """Return the parts of *key*.

    Raises:
        StorageKeyError: It is not acceptable.
    """
    text = _text(key, "key")
    if not text:
        raise _error(text, "a key must not be empty")
    parts = tuple(text.split("/"))
    _check(text, parts)
    return parts


def parse_prefix(prefix: object) -> tuple[tuple[str, ...], str]:
    """Return the folders that *prefix* names, and what the names inside must begin with.

    Raises:
        StorageKeyError: No key can begin so.
    """
    text = _text(prefix, "prefix")
    *folders, beginning = text.split("/")
    _check(text, tuple(folders))
    if beginning and (reason := _fault_of_text(beginning)):
        raise _error(text, reason)
    return tuple(folders), beginning


def fault_of_part(part: str) -> str | None:
    """Return why *part* cannot be a part of a key, or None."""
    return None if _PLAIN.fullmatch(part) else next(_faults_of_part(part), None)


def content_type(key: str) -> str | None:
    """Return the media type that the key's ending tells, such as "text/plain"; None where it tells none.

    It comes from Python's own table, not from the machine's, so that all machines agree.
    """
    kind, packed = _TYPES.guess_type(key.rpartition("/")[2].lower())
    return f"application/{packed}" if packed else kind


def _faults_of_part(part: str) -> Iterator[str]:
    if not part:
        yield 'a key has no "/" at its begin or end, nor two in a row'
    if part in (".", ".."):
        yield f'"{part}" is not allowed in a key'
    if reason := _fault_of_text(part):
        yield reason
    if found := _FORBIDDEN.search(part):
        yield f"{found[0]!r} is not allowed in a key: some systems take it for something else"
    if part.endswith((".", " ")):
        yield f"the part {part!r} ends in a dot or a space, which some systems drop"
    if _RESERVED.fullmatch(part):
        yield f"{part!r} is a device on some systems"
    if part.casefold().startswith(TEMPORARY):
        yield f"names that begin with {TEMPORARY!r} are the storage's own"
    if len(part.encode()) > MAX_PART_BYTES:
        yield f"a part is longer than {MAX_PART_BYTES} bytes"


def _fault_of_text(text: str) -> str | None:
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            return f"{character!a} is half a character and cannot be written"
        if category in ("Cc", "Zl", "Zp"):
            return f"the control character {character!a} is not allowed in a key"
    if not unicodedata.is_normalized("NFC", text):
        return f"{text!a} is not in Unicode's form NFC, so another spelling looks the same"
    return None


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise StorageKeyError(f"a {what} is text, got {type(value).__name__}", expected=_EXPECTED)
    return value


def _check(text: str, parts: tuple[str, ...]) -> None:
    if len(parts) > MAX_PARTS:
        raise _error(text, f"a key has at most {MAX_PARTS} parts, this one {len(parts)}")
    for part in parts:
        if reason := fault_of_part(part):
            raise _error(text, reason)
    if len(text) > MAX_KEY_BYTES or len(text.encode(errors="replace")) > MAX_KEY_BYTES:
        raise _error(text, f"a key is at most {MAX_KEY_BYTES} bytes long")


def _error(text: str, reason: str) -> StorageKeyError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\u2026"
    better = _mended(text)
    return StorageKeyError(
        f"the key is not acceptable: {reason}",
        where=f"key {shown!a}",
        expected=_EXPECTED,
        fix=f"write the key as {better!r}" if better else None,
    )


def _mended(text: str) -> str | None:
    """Return the nearest acceptable key where it is plain which one was meant."""
    parts = unicodedata.normalize("NFC", text[:MAX_KEY_BYTES]).replace("\\", "/").split("/")
    if ".." in parts or ":" in parts[0]:
        return None
    parts = [part.rstrip(". ") if part not in ("", ".") else "" for part in parts]
    better = "/".join(part for part in parts if part)
    acceptable = better != text and better and not any(fault_of_part(part) for part in better.split("/"))
    return better if acceptable and len(text) <= MAX_KEY_BYTES else None
