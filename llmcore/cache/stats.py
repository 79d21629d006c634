"""Hits and misses of one cache."""

from __future__ import annotations

import itertools
import threading

from llmcore.builtin import forks

__all__ = ["Stats"]


class Stats:
    """Counts look-ups and failures. Threads may use it at once."""

    __slots__ = ("__weakref__", "_hits", "_lock", "_read", "errors", "hit", "misses")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits = itertools.count()
        self.hit = self._hits.__next__
        """Counts one hit: a step of its own in C, since a lock would cost more than all the rest of a hit."""
        self._read = 0
        """How far the hits are to be read from: each reading takes a number too."""
        self.misses = self.errors = 0
        forks.renew(self)

    def renewed(self) -> None:
        """See `forks.Renewable`."""
        self._lock = threading.Lock()

    @property
    def hits(self) -> int:
        """Look-ups that found something."""
        with self._lock:
            return self._hits_now()

    def looked_up(self, *, hit: bool) -> None:
        """Count one look-up."""
        if hit:
            self.hit()
            return
        with self._lock:
            self.misses += 1

    def unusable(self) -> None:
        """Count the last hit as the miss that it turned out to be."""
        with self._lock:
            self._read += 1
            self.misses += 1

    def failed(self) -> None:
        """Count one failure of the backend."""
        with self._lock:
            self.errors += 1

    def clear(self) -> None:
        """Begin again at zero."""
        with self._lock:
            hits = self._hits_now()
            self._read += hits
            self.misses = self.errors = 0

    def as_dict(self) -> dict[str, int | float]:
        """Return the counts, and `hit_rate` between 0 and 1."""
        with self._lock:
            hits, misses, errors = self._hits_now(), self.misses, self.errors
        total = hits + misses
        return {
            "hits": hits,
            "misses": misses,
            "errors": errors,
            "hit_rate": hits / total if total else 0.0,
            "total_requests": total,
        }

    def _hits_now(self) -> int:
        hits = self.hit() - self._read
        self._read += 1
        return hits
