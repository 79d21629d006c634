"""Counters of requests, in the text format of Prometheus, summed over all workers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Metrics"]

_IN_PROGRESS: Final = "llmcore_requests_in_progress"
_FAMILIES: Final = (
    ("llmcore_requests_total", "counter", "Finished HTTP requests."),
    (
        "llmcore_request_seconds_total",
        "counter",
        "Seconds from the head of a request to the end of its answer.",
    ),
    ("llmcore_disconnects_total", "counter", "Clients that disconnected before the end of their answer."),
    (_IN_PROGRESS, "gauge", "Requests in progress."),
)
_decode: Final = msgspec.json.Decoder(dict[str, float]).decode


class Metrics:
    """Counts requests and their durations.

    Ten times a second, each worker writes its counters to a file in a shared folder if they have changed. The worker that
    answers `/metrics` adds the files of all workers. The file of a dead worker remains, because the sums must not decrease.
    """

    def __init__(self) -> None:
        self.in_progress = 0
        self.folder: Path | None = None
        """The folder that the workers of one server share; None for a single process."""
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._disconnects: Counter[str] = Counter()
        self._published: Mapping[str, float] = {}

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a finished request.

        *path* must be the path of a route. The path that a client sent would create a new counter for each text.
        """
        self._requests[method, path, status] += 1
        self._seconds[path] += seconds  # type: ignore[assignment]  # typed for int, but floats work

    def count_disconnect(self, path: str) -> None:
        """Count a client that disconnected before the end of its answer."""
        self._disconnects[path] += 1

    def publish(self) -> None:
        """If the counters of this process have changed, write them for the other workers."""
        if self.folder is None or (samples := self._collect()) == self._published:
            return
        new = self.folder / f"{os.getpid()}.new"
        try:
            new.write_bytes(msgspec.json.encode(samples))
            new.replace(self.folder / f"{os.getpid()}.json")
        except OSError:  # a full disk, or the folder was removed; the next call tries again
            return
        self._published = samples

    def render(self) -> str:
        """Return the counters as text."""
        samples = Counter(self._collect())
        for file in () if self.folder is None else self.folder.glob("*.json"):
            if int(file.stem) != os.getpid():
                samples.update(_read(file))
        lines: list[str] = []
        for name, kind, text in _FAMILIES:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [
                f"{sample} {value:.6f}".removesuffix(".000000")
                for sample, value in sorted(samples.items())
                if sample.partition("{")[0] == name
            ]
        return "\n".join(lines) + "\n"

    def _collect(self) -> dict[str, float]:
        """Return the value of each sample of this process."""
        requests, seconds, disconnects, _ = (name for name, _, _ in _FAMILIES)
        return {
            **{
                f'{requests}{{method="{method}",path="{path}",status="{status}"}}': float(count)
                for (method, path, status), count in self._requests.items()
            },
            **{f'{seconds}{{path="{path}"}}': float(value) for path, value in self._seconds.items()},
            **{f'{disconnects}{{path="{path}"}}': float(count) for path, count in self._disconnects.items()},
            _IN_PROGRESS: float(self.in_progress),
        }


def _read(file: Path) -> dict[str, float]:
    """Return the samples of another worker, without the requests in progress if the worker is dead."""
    samples = _decode(file.read_bytes())
    try:
        os.kill(int(file.stem), 0)
    except OSError:
        del samples[_IN_PROGRESS]
    return samples
