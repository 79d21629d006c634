"""Start the scheduler and the workers of a Dask cluster as a user does, on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["start_scheduler", "start_worker", "stop"]


def start_scheduler(log: Path, address: str = "tcp://127.0.0.1:0") -> tuple[subprocess.Popen[bytes], str]:
    """Start `dask scheduler`, which writes to *log*. Return the process and its address."""
    port = address.rpartition(":")[2]
    process = _run_dask("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", log=log)
    deadline = time.monotonic() + 100
    while (found := re.search(r"Scheduler at:\s+(\S+)", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return process, found[1]


def start_worker(address: str) -> subprocess.Popen[bytes]:
    """Start `dask worker` with one process and two threads."""
    return _run_dask("worker", address, "--no-nanny", "--nthreads", "2", "--no-dashboard")


def stop(process: subprocess.Popen[Any]) -> None:
    """Kill *process*, unless it has ended."""
    process.kill()
    with process:  # closes its pipes, and waits for its end
        pass


def _run_dask(*arguments: str, log: Path | None = None) -> subprocess.Popen[bytes]:
    with (log or Path(os.devnull)).open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=file, stderr=file)
