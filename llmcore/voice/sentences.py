"""Split a text at sentences and pauses. Joined together, the pieces are the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

__all__ = ["merge_to_limit", "split_sentences", "split_to_limit"]

_STOPS: Final = r".!?\u2026\u061f\u06d4\u0964\u0965\u1362"
_WIDE_STOPS: Final = r"\u3002\uff01\uff1f\uff61"
_CLOSING: Final = r"""["'\u2019\u201d\u00bb)\]}*_\u300d\u300f\uff09]*+"""
_END: Final = re.compile(
    rf"(?<![{_STOPS}])[{_STOPS}]++{_CLOSING}\s+"  # a full stop must be followed by a space
    rf"|(?<![{_WIDE_STOPS}])[{_WIDE_STOPS}]++{_CLOSING}\s*"  # a wide full stop need not be followed by a space
    r"|(?:\r?\n[^\S\n]*){2,}"  # an empty line
)
_ABBREVIATIONS: Final = frozenset(
    {
        "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "nr", "fig", "vol", "al", "etc", "e.g",
        "i.e", "cf", "approx", "dept", "est", "inc", "ltd", "co", "corp", "gen", "col", "capt", "sgt",
        "rev", "hon", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
        "a.m", "p.m", "u.s", "u.k", "z.b", "d.h", "u.a", "bzw", "ca", "usw", "evtl", "ggf", "inkl", "m.e",
        "mme", "mlle", "p.ex", "sra", "srta", "ud", "uds",
    }
)  # fmt: skip
_LONGEST_WORD: Final = 12
_DIGITS: Final = 2
"""Maximum number of digits in the number of a list item."""
_WORD: Final = re.compile(r"[\w.]*$")
_PAUSE: Final = re.compile(
    r"[,;:\u2013\u2014\u3001\uff0c\uff1b\uff1a]+[\"'\u201d\u2019)]*(?:\s+|(?<=[\u3001\uff0c\uff1b\uff1a]))"
)
_SPACE: Final = re.compile(r"\s+")
_JOINER: Final = "\u200d"


def split_sentences(text: str) -> list[str]:
    """Return the sentences of *text*, each with its trailing space.

    A sentence without a letter or digit is merged into its neighbour.
    """
    found: list[str] = []
    begins = 0
    for match in _END.finditer(text):
        if not _is_continued(text, match):
            found.append(text[begins : match.end()])
            begins = match.end()
    found.append(text[begins:])
    return _merge_silent(found)


def split_to_limit(text: str, limit: int) -> Iterator[str]:
    """Yield *text* in pieces of at most *limit* characters.

    Text is split at a pause if possible, otherwise at a space or between letters.
    """
    while len(text) > limit:
        at = _find_last(_PAUSE, text, limit) or _find_last(_SPACE, text, limit) or _find_split(text, limit)
        yield text[:at]
        text = text[at:]
    if text:
        yield text


def merge_to_limit(pieces: list[str], limit: int | None) -> list[str]:
    """Merge neighbouring *pieces* while the result has at most *limit* characters, not counting white space at its end.

    If *limit* is None, merge all pieces into one.
    """
    together: list[str] = []
    for piece in pieces:
        if together and (limit is None or len(together[-1]) + len(piece.rstrip()) <= limit):
            together[-1] += piece
        else:
            together.append(piece)
    return together


def _is_continued(text: str, match: re.Match[str]) -> bool:
    """Return whether the sentence continues after the full stop of an abbreviation, an initial or a list number."""
    if match[0].strip() != ".":
        return False
    if text[match.end() : match.end() + 1].islower():
        return True
    near = text[max(0, match.start() - _LONGEST_WORD) : match.start()]
    found = _WORD.search(near)
    word = found[0].casefold() if found else ""
    if word.isdecimal() and len(word) <= _DIGITS:
        begins = match.start() - len(word)
        return not text[text.rfind("\n", 0, begins) + 1 : begins].strip()
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i")


def _merge_silent(pieces: list[str]) -> list[str]:
    """Merge each piece without a letter or digit into a neighbour, and return the pieces."""
    kept: list[str] = []
    for piece in pieces:
        if kept and (not _has_speech(piece) or not _has_speech(kept[-1])):
            kept[-1] += piece
        elif piece:
            kept.append(piece)
    return kept


def _has_speech(piece: str) -> bool:
    return any(map(str.isalnum, piece))


def _find_last(pattern: re.Pattern[str], text: str, limit: int) -> int:
    """Return the end of the last match of *pattern* in the second half of the first *limit* characters; 0 if there is none."""
    at = 0
    for match in pattern.finditer(text, limit // 2, limit + 1):
        if match.end() <= limit:
            at = match.end()
    return at if at and text[:at].strip() else 0


def _find_split(text: str, limit: int) -> int:
    """Return the index at which to split text without spaces; combining marks and joined emoji stay together."""
    at = limit
    while at > 1 and (
        unicodedata.combining(text[at]) or _JOINER in text[at - 1 : at + 1] or _is_modifier(text[at])
    ):
        at -= 1
    return at if at > 1 else limit


def _is_modifier(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U0001f3fb" <= character <= "\U0001f3ff"
