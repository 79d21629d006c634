"""Order keys by frequency of use in constant time (LFU). By ageing, keys that were frequent long ago are evicted too."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["Frequencies"]

_MOST: Final = 16
"""Maximum number of uses that count for one key."""


class Frequencies:
    """LFU with dynamic ageing.

    The age is the worth of the key that was evicted last. Each use sets a key's worth to its number of uses plus
    the age. Because the age grows, new keys get a higher worth than an old key that is not used any more.
    """

    def __init__(self) -> None:
        self._age = 0
        self._known: dict[str, tuple[int, int]] = {}
        """Key -> uses and worth."""
        self._by_worth: dict[int, OrderedDict[str, None]] = {}

    def add(self, key: str) -> None:
        """Add a new key."""
        self._place(key, 1)

    def record_use(self, key: str) -> None:
        """Count one more use."""
        uses, _ = self._known[key]
        self.remove(key)
        self._place(key, min(uses + 1, _MOST))

    def remove(self, key: str) -> None:
        """Remove a key."""
        _, worth = self._known.pop(key)
        bucket = self._by_worth[worth]
        del bucket[key]
        if not bucket:
            del self._by_worth[worth]

    def find_least(self) -> str:
        """Return the key with the lowest worth.

        If several keys have this worth, return the least recently used one. There must be at least one key.
        """
        # The loop has at most `_MOST` steps, because no worth exceeds the age by more than `_MOST`.
        while self._age not in self._by_worth:
            self._age += 1
        return next(iter(self._by_worth[self._age]))

    def _place(self, key: str, uses: int) -> None:
        worth = self._age + uses
        self._known[key] = uses, worth
        self._by_worth.setdefault(worth, OrderedDict())[key] = None
