"""The functions that the conformance kit for engines runs in workers.

The module imports only the standard library, because a worker may lack other packages.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

__all__ = [
    "Unpicklable",
    "begin_and_wait",
    "die",
    "exit_python",
    "fail",
    "fail_with_a_lock",
    "meet",
    "name_process",
    "reverse",
    "wait_for_file",
]


class Unpicklable(Exception):
    """An exception that cannot be sent to another process."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def reverse(data: bytes) -> bytes:
    """Return the bytes of *data* in reverse order."""
    return data[::-1]


def name_process(_: bytes) -> bytes:
    """Return the id of the process."""
    return str(os.getpid()).encode()


def fail(data: bytes) -> bytes:
    """Raise an exception with the text *data*."""
    raise ValueError(data.decode())


def fail_with_a_lock(data: bytes) -> bytes:
    """Raise an exception that cannot be pickled."""
    raise Unpicklable(data.decode())


def exit_python(_: bytes) -> bytes:
    """Raise SystemExit, with which a script ends its process."""
    raise SystemExit(3)


def die(_: bytes) -> bytes:
    """Kill the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def wait_for_file(data: bytes) -> bytes:
    """Wait until the file *data* exists. Then create a file with the same name plus `.seen`."""
    path = Path(data.decode())
    _wait_until_all_exist([path], 60.0)
    path.with_name(f"{path.name}.seen").touch()
    return b"seen"


def begin_and_wait(data: bytes) -> bytes:
    """Create a file whose name ends with `.begun`, and then do the same as `wait_for_file`."""
    path = Path(data.decode())
    path.with_name(f"{path.name}.begun").touch()
    return wait_for_file(data)


def meet(data: bytes) -> bytes:
    """Create the first file and wait until all files exist.

    *data* has one path per line, and the timeout in seconds in the last line.
    """
    *lines, timeout = data.decode().splitlines()
    paths = [Path(line) for line in lines]
    paths[0].touch()
    _wait_until_all_exist(paths, float(timeout))
    return b"met"


def _wait_until_all_exist(paths: list[Path], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not all(path.exists() for path in paths):
        if time.monotonic() > deadline:
            raise TimeoutError("the other calls have not started")
        time.sleep(0.02)
