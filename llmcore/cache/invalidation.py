"""Carry out an invalidation on the cache backend, or postpone it until the backend answers again."""

from __future__ import annotations

import itertools
from typing import Any, Final, Literal, NamedTuple

from llmcore import forks
from llmcore.calls.backend import Backend
from llmcore.calls.steps import Act
from llmcore.errors import CacheError
from llmcore.support.key_patterns import compile_pattern

__all__ = ["EVERYTHING", "MAX_PENDING", "Invalidation", "PendingInvalidations"]

MAX_PENDING: Final = 10_000
"""Maximum number of pending invalidations in one outage.

If there are more, one invalidation of everything replaces them.
"""


class Invalidation(NamedTuple):
    """The entries to remove: one key, all keys that match a pattern, or all keys in the namespace."""

    scope: Literal["key", "pattern", "everything"]
    target: str = ""
    """The key or the pattern in the backend."""

    def carry_out(self, backend: Backend) -> Act[int]:
        """Remove the entries from *backend*; return their number, or -1 if the backend does not count.

        Raises:
            BaseException: An error of the backend; `CacheError` if the backend cannot list keys.
        """
        if self.scope == "everything":
            yield backend.require("clear")()
            return -1
        if self.scope == "key":
            return int(bool((yield backend.require("delete")(self.target))))
        if backend.find_ability("delete_matching") is not None:
            count: int = yield backend.require("delete_matching")(self.target)
            return count
        if backend.find_ability("keys") is None:
            raise CacheError(
                f"the cache `{backend.name}` cannot list its keys, so it cannot find those that match a pattern",
                expected="tags, one key, or everything",
                notes=("store values with tags=, and invalidate the tags: cache.invalidate(tags=...)",),
                fix="cache.clear()",
            )
        keys: Any = yield backend.require("keys")()
        matches, count = compile_pattern(self.target), 0
        for key in [key for key in keys if matches(key)]:
            count += bool((yield backend.require("delete")(key)))
        return count


EVERYTHING: Final = Invalidation("everything")


class _Pending(NamedTuple):
    number: int
    """The number of the latest request for this invalidation.

    Each request gets a higher number. So a request that arrives while the invalidation is being carried out stays
    pending.
    """
    is_requested: bool
    """True if the application requested the invalidation.

    If not, the entry is removed because a newer value replaces it.
    """


class PendingInvalidations:
    """Invalidations postponed by an outage, to be repeated before the backend is read again. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._numbers = itertools.count()
        self._pending: dict[Invalidation, _Pending] = {}
        self._begun = -1
        """The highest number of the invalidations that are being carried out.

        Requests with higher numbers stay pending.
        """

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def requested(self) -> int:
        """The number of invalidations that the application requested."""
        with self._lock:
            return sum(each.is_requested for each in self._pending.values())

    def add(self, invalidation: Invalidation, *, is_requested: bool = True) -> int:
        """Add *invalidation*; return its number."""
        with self._lock:
            everything = self._pending.get(EVERYTHING)
            is_covered = everything is not None and everything.number > self._begun
            if is_covered or len(self._pending) >= MAX_PENDING:
                invalidation = EVERYTHING
            before = [self._pending.get(invalidation)]
            if invalidation == EVERYTHING:
                before = list(self._pending.values())
                self._pending.clear()
            is_requested = is_requested or any(each is not None and each.is_requested for each in before)
            number = next(self._numbers)
            self._pending[invalidation] = _Pending(number, is_requested)
            return number

    def snapshot(self) -> list[tuple[Invalidation, int]]:
        """Return the pending invalidations with their numbers, in the order of the requests."""
        with self._lock:
            self._begun = max((pending.number for pending in self._pending.values()), default=self._begun)
            return [(invalidation, pending.number) for invalidation, pending in self._pending.items()]

    def discard(self, invalidation: Invalidation, number: int) -> None:
        """Remove *invalidation* after it was carried out, unless the application has requested it again."""
        with self._lock:
            pending = self._pending.get(invalidation)
            if pending is not None and pending.number == number:
                del self._pending[invalidation]

    def clear(self) -> None:
        """Remove all pending invalidations."""
        with self._lock:
            self._pending.clear()
