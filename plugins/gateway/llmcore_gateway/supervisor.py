"""Run several server processes on one socket.

The supervisor restarts dead workers and forwards signals to all workers.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from logging import getLogger
from typing import Any, Final

from llmcore_gateway.worker import Source

__all__ = ["Supervisor"]

_TICK_S: Final = 0.1
_MOST_FAILURES: Final = 3
"""The supervisor gives up after this many consecutive workers that ended before they served."""
_log: Final = getLogger("llmcore_gateway")


class Supervisor:
    """Runs *count* workers until a signal stops it."""

    def __init__(self, source: Source, listener: socket.socket, count: int) -> None:
        self._source = source
        self._listener = listener
        self._count = count
        self._workers: dict[subprocess.Popen[bytes], int] = {}
        """Worker -> the reading end of its pipe. A worker writes to the pipe when it begins to serve."""
        self._metrics_folder = ""
        self._failures = 0
        """The number of consecutive workers that ended before they served."""
        self._stop_signal: int | None = None
        """The last signal that told the server to stop; None before the first."""

    def run(self) -> int:
        """Start the workers and wait for their end; return the exit code."""
        with tempfile.TemporaryDirectory(prefix="llmcore-gateway-") as self._metrics_folder:
            return self._run()

    def _run(self) -> int:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        for _ in range(self._count):
            self._start_worker()
        code = 0
        while self._workers:
            time.sleep(_TICK_S)  # the sleep continues after a signal handler has run
            for worker in [worker for worker in self._workers if worker.poll() is not None]:
                self._count_failure(self._workers.pop(worker))
                if self._stop_signal is not None:
                    continue
                ended = f"worker {worker.pid} ended with exit code {worker.returncode}"
                if self._failures < _MOST_FAILURES:
                    _log.error("%s; starting another", ended)
                    self._start_worker()
                else:
                    _log.error(
                        "%s before it served, like the %d workers before it; stopping",
                        ended,
                        self._failures - 1,
                    )
                    code = worker.returncode if worker.returncode > 0 else 1
                    self._pass_on(signal.SIGINT)
        return code

    def _start_worker(self) -> None:
        listening = self._listener.fileno()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            worker = subprocess.Popen(  # noqa: S603 - the command is this interpreter with our module
                [
                    sys.executable,
                    "-m",
                    "llmcore_gateway.worker",
                    str(listening),
                    str(writing),
                    json.dumps(list(self._source)),
                    self._metrics_folder,
                ],
                pass_fds=[listening, writing],
                start_new_session=True,  # only the supervisor receives a Ctrl-C; it passes the signal on once
            )
        finally:
            os.close(writing)
        self._workers[worker] = reading
        if self._stop_signal is not None:  # `_pass_on` may have run before `_workers` had this worker
            worker.send_signal(self._stop_signal)

    def _count_failure(self, reading: int) -> None:
        """Count a worker that ended before it served; reset the count if the worker served. *reading* is its pipe."""
        with open(reading, "rb", buffering=0) as report:
            self._failures = 0 if report.read(1) else self._failures + 1

    def _pass_on(self, number: int, _: Any = None) -> None:
        if number != signal.SIGHUP:
            self._stop_signal = number
        for worker in list(self._workers):
            worker.send_signal(number)
