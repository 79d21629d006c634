"""Byte pair encoding of one piece, in Python: for pieces short enough that nothing is gained by loading more."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, whose import would be a fifth of a first count
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

__all__ = ["tokens_in"]

_NEVER: Final = 1 << 30
"""The rank of two neighbours that are no token together."""


def tokens_in(piece: bytes, rank: Callable[[bytes], int | None]) -> int:
    """Return how many tokens *piece* has: the pair of the lowest rank is joined, the first of equals, until none is left.

    Takes time with the square of the length: for pieces of a few hundred bytes.
    """
    if len(piece) == 1 or rank(piece) is not None:
        return 1

    def joined(at: int) -> int:
        found = rank(piece[starts[at] : starts[at + 2]]) if at + 2 < len(starts) else None
        return _NEVER if found is None else found

    starts = list(range(len(piece) + 1))
    ranks = [joined(at) for at in range(len(piece))]
    while (lowest := min(ranks)) < _NEVER:
        at = ranks.index(lowest)
        del starts[at + 1], ranks[at + 1]
        ranks[at] = joined(at)
        if at:
            ranks[at - 1] = joined(at - 1)
    return len(ranks)
