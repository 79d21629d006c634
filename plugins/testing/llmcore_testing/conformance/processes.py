"""Runs a part of a test in a second process, to find locks that work only inside of one process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

__all__ = ["can_fork", "run_in_two_processes"]

T = TypeVar("T")

_OK: Final = b"+"
can_fork: Final = hasattr(os, "fork")


def run_in_two_processes(
    child: Callable[[], str], parent: Callable[[], T], deadline_s: float
) -> tuple[str, T]:
    """Call *child* in a forked process and *parent* in this one, at the same time. Return both results.

    The child starts no earlier than *parent*. A child that raises or exceeds *deadline_s* fails the test. If the system
    ends the child, the test is skipped, because some libraries do not work in a forked process.
    """
    __tracebackhide__ = True
    go_read, go_write = os.pipe()
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: the process has threads
        pid = os.fork()
    if not pid:
        os.close(go_write)
        _run_child(child, go_read, write)
    for fd in (go_read, write):
        os.close(fd)
    told: bytes | None = None
    try:
        os.write(go_write, _OK)
        result = parent()
        told = _read_all(read, deadline_s)
    finally:
        os.close(go_write)
        os.close(read)
        if told is None:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if told is None:
        pytest.fail(f"a call in a second process did not return within {deadline_s:g} s")
    if status < 0 and not told:
        pytest.skip(
            f"the backend does not work in a forked process, which ended with {signal.Signals(-status).name}"
        )
    if not told.startswith(_OK):
        pytest.fail(f"a call in a forked process failed: {told.decode(errors='replace')}")
    return told[1:].decode(), result


def _run_child(child: Callable[[], str], go: int, write: int) -> None:
    try:
        os.read(go, 1)
        text = _OK + child().encode()
    except BaseException as error:  # noqa: BLE001 - the parent reports it
        text = f"{type(error).__name__}: {error}".encode(errors="replace")
    try:
        with contextlib.suppress(OSError), os.fdopen(write, "wb") as pipe:
            pipe.write(text)
    finally:
        os._exit(0)


def _read_all(read: int, deadline_s: float) -> bytes | None:
    """Return all bytes that the child writes until its end; None after the deadline."""
    found, ends = b"", time.monotonic() + deadline_s
    while (left := ends - time.monotonic()) > 0:
        if not select.select([read], [], [], left)[0]:
            break
        piece = os.read(read, 65_536)
        if not piece:
            return found
        found += piece
    return None
