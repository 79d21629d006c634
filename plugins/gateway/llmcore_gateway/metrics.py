"""Counters of one process, in the text format of Prometheus."""

from __future__ import annotations

import os
from collections import Counter

__all__ = ["Metrics"]


class Metrics:
    """Counts requests and their durations."""

    def __init__(self) -> None:
        self.in_progress = 0
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._disconnects: Counter[str] = Counter()

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a finished request. *path* is the path of the route, so clients cannot create new names."""
        self._requests[method, path, status] += 1
        self._seconds[path] += seconds  # type: ignore[assignment]  # a Counter of floats

    def count_disconnect(self, path: str) -> None:
        """Count a client that disconnected before the end of its answer."""
        self._disconnects[path] += 1

    def render(self) -> str:
        """Return the counters as text."""
        worker = f'worker="{os.getpid()}"'
        lines = [
            "# HELP llmcore_requests_total Finished HTTP requests.",
            "# TYPE llmcore_requests_total counter",
            *(
                f'llmcore_requests_total{{{worker},method="{method}",path="{path}",status="{status}"}} {count}'
                for (method, path, status), count in sorted(self._requests.items())
            ),
            "# HELP llmcore_request_seconds_total Seconds from the head of a request to the end of its answer.",
            "# TYPE llmcore_request_seconds_total counter",
            *(
                f'llmcore_request_seconds_total{{{worker},path="{path}"}} {seconds:.6f}'
                for path, seconds in sorted(self._seconds.items())
            ),
            "# HELP llmcore_disconnects_total Clients that disconnected before the end of their answer.",
            "# TYPE llmcore_disconnects_total counter",
            *(
                f'llmcore_disconnects_total{{{worker},path="{path}"}} {count}'
                for path, count in sorted(self._disconnects.items())
            ),
            "# HELP llmcore_requests_in_progress Requests in progress.",
            "# TYPE llmcore_requests_in_progress gauge",
            f"llmcore_requests_in_progress{{{worker}}} {self.in_progress}",
        ]
        return "\n".join(lines) + "\n"
