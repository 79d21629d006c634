"""Distinguish misspelt names of models from names of new models.

The name of a model consists of words and numbers. The name of a new model differs from known names in a
number, or has one more or one less word: `gpt-6.2-sol`, `gpt-6-sol-mini`. A typing mistake changes letters in
a word, or the separator between words: `gpt-6-slo`, `gpt6-sol`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

__all__ = ["find_typo"]

_PARTS: Final = r"[a-z]+|[0-9]+"
_LOOK_ALIKE: Final = str.maketrans("01", "ol")
"""Digits -> the letters that look like them."""
_SHORT: Final = 2
"""In words of at most this length, a changed letter means another name, such as the `o` in gpt-4o."""
_MIDDLE: Final = 5
"""Words of at most this length may have one mistake; longer words may have two."""


def find_typo(name: str, known: Collection[str]) -> str | None:
    """Return the name of *known* that *name* misspells; None if *name* is known, or may be a new name."""
    if not known or name in known:
        return None
    squeezed = _squeeze(name)
    for candidate in known:
        other = _squeeze(candidate)
        if squeezed == other or squeezed.translate(_LOOK_ALIKE) == other.translate(_LOOK_ALIKE):
            return candidate
    misspelt = [
        (edits, candidate) for candidate in known if (edits := _count_edits(name, candidate)) is not None
    ]
    return min(misspelt)[1] if misspelt else None


def _squeeze(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _count_edits(name: str, known: str) -> int | None:
    """Return the number of mistakes between *known* and *name*.

    The result is None if the difference is not a typing mistake.
    """
    parts, wanted = re.findall(_PARTS, name.lower()), re.findall(_PARTS, known.lower())
    if [part for part in parts if part.isdecimal()] != [part for part in wanted if part.isdecimal()]:
        return None
    words = [part for part in parts if not part.isdecimal()]
    known_words = [part for part in wanted if not part.isdecimal()]
    # A missing word of one letter is a mistake, but not at the end: gpt-4-mini misspells gpt-4o-mini, but gpt-4 does
    # not misspell gpt-4o.
    if len(words) + 1 == len(known_words):
        letters = [at for at, word in enumerate(known_words[:-1]) if len(word) == 1]
        return 1 if any(known_words[:at] + known_words[at + 1 :] == words for at in letters) else None
    if len(words) != len(known_words):
        return None
    each = [_compute_distance(word, meant) for word, meant in zip(words, known_words, strict=True)]
    allowed = [_get_max_edits(word, meant) for word, meant in zip(words, known_words, strict=True)]
    if any(edits > most for edits, most in zip(each, allowed, strict=True)):
        return None
    return max(1, sum(each)) if sum(each) <= max([1, *allowed]) else None


def _get_max_edits(word: str, meant: str) -> int:
    if len(meant) <= _SHORT:
        return int(word in {meant[::-1], meant + meant[-1]})
    return 1 if len(meant) <= _MIDDLE else 2


def _compute_distance(word: str, meant: str) -> int:
    """Return the edit distance: letters omitted, added, changed or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(word, start=1):
        last, row = row, [i]
        for j, other in enumerate(meant, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if before and j > 1 and letter == meant[j - 2] and word[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]
