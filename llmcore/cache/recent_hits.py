"""A fast path for recent hits: find the result from the arguments, without making a key or decoding bytes."""

from __future__ import annotations

import time
from typing import Any, Final

from llmcore.cache.codec import IMMUTABLE
from llmcore.cache.entry import LookUp
from llmcore.cache.keys import make_backend_key
from llmcore.cache.store import CacheStore

__all__ = ["MISSED", "RecentHits"]

MISSED: Final = object()
_MAX_SPOTS: Final = 1024
_MAX_SIZE: Final = 4096
_ARGUMENT_TYPES: Final = frozenset({str, int, bool, bytes, type(None)})


Spot = tuple[type | None, tuple[type, ...], str, bytes, Any, float]
"""A recent hit as a plain tuple, because a tuple is the fastest to unpack.

Its items are: the type of the argument if there is only one, otherwise None; the types of all arguments; the key in
the backend; the bytes object from which the value was decoded; the value; the refresh time. The value is valid while
the memory tier has the same bytes object.
"""


class RecentHits:
    """The recent hits of one function, for small immutable arguments and results."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self.spots: dict[Any, Spot] = {}
        """The arguments -> the hit.

        The key is the tuple of the positional arguments. If there are keyword arguments, the key is that tuple
        followed by the pairs of name and value.
        """

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result for the arguments and count a hit; MISSED if the call is not a recent hit."""
        try:
            spot = self.spots.get((args, *kwargs.items()) if kwargs else args)
        except TypeError:  # an argument is not hashable
            return MISSED
        if spot is None:
            return MISSED
        _, kinds, key, kept, value, due = spot
        if kinds != (*map(type, args), *map(type, kwargs.values())):
            return MISSED
        if self._store.peek(key) is not kept or (due and due <= time.time()):
            return MISSED
        self._store.stats.record_hit()
        return value

    def learn(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, found: LookUp) -> None:
        """Remember a hit."""
        kinds = (*map(type, args), *map(type, kwargs.values()))
        if not (found.plain and type(found.value) in IMMUTABLE and _ARGUMENT_TYPES.issuperset(kinds)):
            return
        at = make_backend_key(key)
        kept = self._store.peek(at)
        if kept is None or len(kept) > _MAX_SIZE or any(map(_is_long, (*args, *kwargs.values()))):
            return
        if len(self.spots) >= _MAX_SPOTS:
            self.spots.clear()
        lone = kinds[0] if len(args) == 1 and not kwargs else None
        place = (args, *kwargs.items()) if kwargs else args
        self.spots[place] = (lone, kinds, at, kept, found.value, found.due)


def _is_long(argument: object) -> bool:
    return isinstance(argument, str | bytes) and len(argument) > _MAX_SIZE
