"""Several server processes on one socket: started again when they die. They receive its signals."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from logging import getLogger
from typing import Any, Final

from llmcore_gateway.worker import Source

__all__ = ["Supervisor"]

_TICK_S: Final = 0.1
_SOON_S: Final = 2.0
"""A worker that ends sooner than this after its start would end again: then the supervisor gives up."""
_log: Final = getLogger("llmcore_gateway")


class Supervisor:
    """Runs *count* workers until a signal stops it."""

    def __init__(self, source: Source, listener: socket.socket, count: int) -> None:
        self._command = [
            sys.executable,
            "-m",
            "llmcore_gateway.worker",
            str(listener.fileno()),
            json.dumps(list(source)),
        ]
        self._listener = listener
        self._count = count
        self._workers: dict[subprocess.Popen[bytes], float] = {}
        self._is_stopping = False

    def run(self) -> int:
        """Start the workers and wait for their end; return the exit code."""
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        for _ in range(self._count):
            self._start_worker()
        code = 0
        while self._workers:
            time.sleep(_TICK_S)  # a signal ends the sleep: its handler runs, and the rest is slept
            for worker in [worker for worker in self._workers if worker.poll() is not None]:
                started = self._workers.pop(worker)
                if self._is_stopping:
                    continue
                if time.monotonic() - started < _SOON_S:
                    _log.error("a worker ended at once, with exit code %s", worker.returncode)
                    code = worker.returncode or 1
                    self._pass_on(signal.SIGINT)
                else:
                    _log.error(
                        "worker %d ended with exit code %s; starting another", worker.pid, worker.returncode
                    )
                    self._start_worker()
        return code

    def _start_worker(self) -> None:
        worker = subprocess.Popen(  # noqa: S603 - this interpreter and our module
            self._command,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,  # a Ctrl-C reaches the supervisor alone, which passes it on once
        )
        self._workers[worker] = time.monotonic()

    def _pass_on(self, number: int, _: Any = None) -> None:
        self._is_stopping = self._is_stopping or number != signal.SIGHUP
        for worker in list(self._workers):
            worker.send_signal(number)
