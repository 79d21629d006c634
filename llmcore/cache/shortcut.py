"""The short way to a kept result: the arguments of a recent hit lead to it without a key being made or bytes decoded."""

from __future__ import annotations

import time
from typing import Any, Final

from llmcore.cache.codec import IMMUTABLE
from llmcore.cache.entry import Found
from llmcore.cache.keys import backend_key
from llmcore.cache.store import CacheStore

__all__ = ["MISSED", "Shortcut"]

MISSED: Final = object()
_MOST: Final = 1024
_LONGEST: Final = 4096
_FIT: Final = frozenset({str, int, bool, bytes, type(None)})


Spot = tuple[type | None, tuple[type, ...], str, bytes, Any, float]
"""Where one recent hit is; a plain tuple, which is the fastest to unpack.

The type of the argument, where there is one alone, else None; the types of all arguments; the key in the backend; the
object in memory that the value was read from: while it is there, the value is true; the value; when it is due.
"""


class Shortcut:
    """Where the recent hits of one function are. Only immutable arguments and results take part, and small ones."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self.spots: dict[Any, Spot] = {}
        """By the arguments: their tuple, which the pairs of those given by name follow."""

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result for some arguments, counted, or MISSED: the long way knows."""
        try:
            spot = self.spots.get((args, *kwargs.items()) if kwargs else args)
        except TypeError:  # not hashable
            return MISSED
        if spot is None:
            return MISSED
        _, kinds, key, kept, value, due = spot
        if kinds != (*map(type, args), *map(type, kwargs.values())):
            return MISSED
        if self._store.peek(key) is not kept or (due and due <= time.time()):
            return MISSED
        self._store.stats.hit()
        return value

    def learn(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, found: Found) -> None:
        """Note a hit."""
        kinds = (*map(type, args), *map(type, kwargs.values()))
        if not (found.plain and type(found.value) in IMMUTABLE and _FIT.issuperset(kinds)):
            return
        at = backend_key(key)
        kept = self._store.peek(at)
        if kept is None or len(kept) > _LONGEST or any(map(_is_long, (*args, *kwargs.values()))):
            return
        if len(self.spots) >= _MOST:
            self.spots.clear()
        lone = kinds[0] if len(args) == 1 and not kwargs else None
        place = (args, *kwargs.items()) if kwargs else args
        self.spots[place] = (lone, kinds, at, kept, found.value, found.due)


def _is_long(argument: object) -> bool:
    return isinstance(argument, str | bytes) and len(argument) > _LONGEST
