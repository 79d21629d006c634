"""Hits and misses of one cache."""

from __future__ import annotations

import threading

__all__ = ["Stats"]


class Stats:
    """Counts look-ups and failures. Threads may use it at once."""

    __slots__ = ("_lock", "errors", "hits", "misses")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.hits = self.misses = self.errors = 0

    def looked_up(self, *, hit: bool) -> None:
        """Count one look-up."""
        with self._lock:
            if hit:
                self.hits += 1
            else:
                self.misses += 1

    def unusable(self) -> None:
        """Count the last hit as the miss that it turned out to be."""
        with self._lock:
            self.hits -= 1
            self.misses += 1

    def failed(self) -> None:
        """Count one failure of the backend."""
        with self._lock:
            self.errors += 1

    def clear(self) -> None:
        """Begin again at zero."""
        with self._lock:
            self.hits = self.misses = self.errors = 0

    def as_dict(self) -> dict[str, int | float]:
        """Return the counts, and `hit_rate` between 0 and 1."""
        with self._lock:
            hits, misses, errors = self.hits, self.misses, self.errors
        total = hits + misses
        return {
            "hits": hits,
            "misses": misses,
            "errors": errors,
            "hit_rate": hits / total if total else 0.0,
            "total_requests": total,
        }
