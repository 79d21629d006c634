"""Look at the processes of this machine, to see whether the workers of an engine end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["is_descendant", "is_running", "list_processes", "wait_until"]

_PROC: Final = Path("/proc")


def list_processes() -> set[int]:
    """Return the ids of all processes; empty where there is no /proc."""
    return {int(path.name) for path in _PROC.glob("[0-9]*")}


def is_running(process: int) -> bool:
    """Return whether the process exists and has not ended."""
    return (found := _read(process)) is not None and found[0] not in "ZX"


def is_descendant(process: int) -> bool:
    """Return whether *process* is a child of this process, or a descendant of a child. Always False without /proc."""
    while (found := _read(process)) is not None:
        process = found[1]
        if process == os.getpid():
            return True
    return False


def _read(process: int) -> tuple[str, int] | None:
    """Return the state and the parent's id of a process, or None if the process does not exist."""
    try:
        text = (_PROC / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until *condition* holds, for at most *timeout_s* seconds. Return whether it holds."""
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            return condition()
        time.sleep(0.02)
    return True
