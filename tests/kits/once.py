"""Create a folder once for each test run, shared by all workers of pytest-xdist."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder *name* of this run; the first worker that needs it calls `make(folder)`, the others wait.

    A folder whose `make` failed is made again by the next caller, so *make* must empty it first.
    """
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder in that of the run
        run = run.parent
    folder, done = run / name, run / f"{name}.done"
    with (run / f"{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder
