"""Byte pair encoding of one short piece, in Python."""

from __future__ import annotations

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

__all__ = ["count_tokens"]

_NEVER: Final = 1 << 30
"""The rank of two parts that do not form a token."""


def count_tokens(piece: bytes, rank: Callable[[bytes], int | None]) -> int:
    """Return the number of tokens of *piece*.

    The pair with the lowest rank is merged, the first one if there are several, until no pair can be merged. The
    time is quadratic, so the pieces must be short (a few hundred bytes).
    """
    if len(piece) == 1 or rank(piece) is not None:
        return 1

    def rank_pair(at: int) -> int:
        found = rank(piece[starts[at] : starts[at + 2]]) if at + 2 < len(starts) else None
        return _NEVER if found is None else found

    starts = list(range(len(piece) + 1))
    ranks = [rank_pair(at) for at in range(len(piece))]
    while (lowest := min(ranks)) < _NEVER:
        at = ranks.index(lowest)
        del starts[at + 1], ranks[at + 1]
        ranks[at] = rank_pair(at)
        if at:
            ranks[at - 1] = rank_pair(at - 1)
    return len(ranks)
