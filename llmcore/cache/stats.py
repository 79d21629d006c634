"""Count the hits, misses and errors of one cache."""

from __future__ import annotations

import itertools

from llmcore import forks

__all__ = ["Stats"]


class Stats:
    """Counts of look-ups and failures. Thread-safe."""

    __slots__ = ("__weakref__", "_hits", "_lock", "_read", "errors", "misses", "record_hit")

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._hits = itertools.count()
        self.record_hit = self._hits.__next__
        """Count one hit.

        This attribute is an atomic C function, because a lock would cost more than all other steps of a hit.
        """
        self._read = 0
        """The number to subtract from the counter `_hits`.

        Each reading of the counter adds 1 to it. Hits that `record_unusable` or `clear` removed are still in it.
        """
        self.misses = self.errors = 0

    @property
    def hits(self) -> int:
        """The number of hits."""
        with self._lock:
            return self._count_hits()

    def record_lookup(self, *, hit: bool) -> None:
        """Count one look-up."""
        if hit:
            self.record_hit()
            return
        with self._lock:
            self.misses += 1

    def record_unusable(self) -> None:
        """Count the last hit as a miss instead."""
        with self._lock:
            self._read += 1
            self.misses += 1

    def record_error(self) -> None:
        """Count one failure of the backend."""
        with self._lock:
            self.errors += 1

    def clear(self) -> None:
        """Reset all counts to zero."""
        with self._lock:
            hits = self._count_hits()
            self._read += hits
            self.misses = self.errors = 0

    def as_dict(self) -> dict[str, int | float]:
        """Return the counts, and `hit_rate` between 0 and 1."""
        with self._lock:
            hits, misses, errors = self._count_hits(), self.misses, self.errors
        total = hits + misses
        return {
            "hits": hits,
            "misses": misses,
            "errors": errors,
            "hit_rate": hits / total if total else 0.0,
            "total_requests": total,
        }

    def _count_hits(self) -> int:
        hits = self.record_hit() - self._read
        self._read += 1
        return hits
