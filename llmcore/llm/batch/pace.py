"""The number of concurrent requests (AIMD): it grows while the server answers, and halves after a 429."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["Pace"]

_FIRST: Final = 8
_MOST: Final = 256
_PAUSE_S: Final = 1.0
"""After a reduction, refusals are ignored for this many seconds, because they concern earlier requests.
"""


class Pace:
    """The concurrency of one run.

    Args:
        fixed: A fixed number of requests; None adapts to the server.
        clock: Returns seconds that never go back.
    """

    def __init__(self, fixed: int | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = float(fixed or _FIRST)
        """Requests that may be in flight."""
        self._fixed = fixed is not None
        self._clock = clock
        self._ceiling = float(_MOST)
        """The concurrency above which growth is slow: half of the concurrency at which the server refused."""
        self._cut_at = float("-inf")

    def grow(self) -> None:
        """Raise the concurrency after an answer.

        At first it doubles with each round; later each round adds one request.
        """
        if not self._fixed:
            step = 1.0 if self.limit < self._ceiling else 1.0 / self.limit
            self.limit = min(self.limit + step, float(_MOST))

    def cut(self) -> None:
        """Halve the concurrency after the server refused a request because there were too many."""
        now = self._clock()
        if not self._fixed and now - self._cut_at >= _PAUSE_S:
            self._cut_at = now
            self._ceiling = self.limit = max(1.0, self.limit / 2)
