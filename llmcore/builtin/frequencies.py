"""Orders keys by how often they are used, in constant time; what was used often once does not stay for ever."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["Frequencies"]

_MOST: Final = 16
"""Uses beyond it do not count."""


class Frequencies:
    """LFU with dynamic ageing.

    A key's worth is its number of uses and, on top, what the last key that went was worth when it was last used. So
    a key that is not used any more is overtaken after as many generations of others as it had uses.
    """

    def __init__(self) -> None:
        self._age = 0
        self._known: dict[str, tuple[int, int]] = {}
        """Key -> uses and worth."""
        self._by_worth: dict[int, OrderedDict[str, None]] = {}

    def add(self, key: str) -> None:
        """Begin to count a key that is not there."""
        self._place(key, 1)

    def used(self, key: str) -> None:
        """Count one more use."""
        uses, _ = self._known[key]
        self.remove(key)
        self._place(key, min(uses + 1, _MOST))

    def remove(self, key: str) -> None:
        """Forget a key."""
        _, worth = self._known.pop(key)
        bucket = self._by_worth[worth]
        del bucket[key]
        if not bucket:
            del self._by_worth[worth]

    def least(self) -> str:
        """Return the key that is worth least; of several, the one used longest ago. There must be one."""
        while self._age not in self._by_worth:  # never far: no worth is above the age by more than `_MOST`
            self._age += 1
        return next(iter(self._by_worth[self._age]))

    def _place(self, key: str, uses: int) -> None:
        worth = self._age + uses
        self._known[key] = uses, worth
        self._by_worth.setdefault(worth, OrderedDict())[key] = None
