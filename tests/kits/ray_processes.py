"""Check that the tests of a file end all processes of Ray that they start, including those of killed programs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kits.engines import find_children

__all__ = ["end_processes"]

_SUBREAPER: Final = 36
"""`PR_SET_CHILD_SUBREAPER` of Linux: the children of a killed program become children of this process."""


@contextlib.contextmanager
def end_processes() -> Iterator[None]:
    """Give Ray a folder for its logs, which it does not delete. At the end, fail if a process of Ray runs on."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    before = set(find_children())
    with (
        pytest.MonkeyPatch.context() as patch,
        # Not in a folder of pytest, because the paths of sockets must be short.
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        yield
        deadline = time.monotonic() + 60
        while (left := _find_running(before)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"processes that no test has ended: {list(left.values())}"


def _find_running(before: set[int]) -> dict[int, str]:
    """Return the command of each child that was not there *before*, without those that have ended."""
    for pid in set(find_children()) - before:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes()[:300].replace(b"\0", b" ").decode(errors="replace")
        for pid in set(find_children()) - before
    }
