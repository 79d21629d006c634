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
    probe: Callable[[], str], child: Callable[[], str], parent: Callable[[], T], deadline_s: float
) -> tuple[str, T]:
    """Call *child* in a forked process and *parent* in this one, at the same time. Return both results.

    Some libraries do not work in a forked process. So the forked process first calls *probe*, while this
    process waits. The test is skipped if *probe* returns a reason in place of "", or if a signal ends the
    forked process during *probe*. After *probe*, the test fails if the forked process raises, is ended by a
    signal or exceeds *deadline_s*.
    """
    __tracebackhide__ = True
    go_read, go_write = os.pipe()
    probed_read, probed_write = os.pipe()
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about a fork with threads
        pid = os.fork()
    if not pid:
        os.close(go_write)
        _run_child(probe, child, go_read, probed_write, write)
    for fd in (go_read, probed_write, write):
        os.close(fd)
    probed = told = None
    result: list[T] = []
    try:
        probed = _read_all(probed_read, deadline_s)
        if probed == _OK:
            os.write(go_write, _OK)
            result.append(parent())
            told = _read_all(read, deadline_s)
    finally:
        for fd in (go_write, probed_read, read):
            os.close(fd)
        if told is None:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if probed != _OK:
        _skip_or_fail(probed, status, deadline_s)
    return _check("a call in a forked process", told, status, deadline_s), result[0]


def _skip_or_fail(probed: bytes | None, status: int, deadline_s: float) -> None:
    """Skip the test if the backend does not work in a forked process; fail it if *probe* failed in another way."""
    __tracebackhide__ = True
    if status < 0 and probed == b"":
        reason = f"it ended with {signal.Signals(-status).name}"
    else:
        reason = _check("the first call in a forked process", probed, status, deadline_s)
    pytest.skip(f"the backend does not work in a forked process: {reason}")


def _check(what: str, told: bytes | None, status: int, deadline_s: float) -> str:
    """Return the text that the child has written.

    Fail the test if the child did not return in time, was ended by a signal, or raised.
    """
    __tracebackhide__ = True
    if told is None:
        pytest.fail(f"{what} did not return within {deadline_s:g} s")
    if status < 0 and not told:
        pytest.fail(f"{what} ended the process with {signal.Signals(-status).name}")
    if not told.startswith(_OK):
        pytest.fail(f"{what} failed: {told.decode(errors='replace')}")
    return told[1:].decode()


def _run_child(
    probe: Callable[[], str], child: Callable[[], str], go: int, probed_write: int, write: int
) -> None:
    try:
        probed = _describe(probe)
        _write(probed_write, probed)
        if probed == _OK and os.read(go, 1):
            _write(write, _describe(child))
    finally:
        os._exit(0)


def _describe(work: Callable[[], str]) -> bytes:
    """Call *work*. Return `_OK` and the result, or a description of the exception."""
    try:
        return _OK + work().encode()
    except BaseException as error:  # noqa: BLE001 - the parent reports it
        return f"{type(error).__name__}: {error}".encode(errors="replace")


def _write(fd: int, data: bytes) -> None:
    """Write *data* and close the pipe."""
    with contextlib.suppress(OSError), os.fdopen(fd, "wb") as pipe:
        pipe.write(data)


def _read_all(read: int, deadline_s: float) -> bytes | None:
    """Return all bytes that the child writes before it closes the pipe.

    Return None if the pipe is still open after *deadline_s* seconds.
    """
    found, ends = b"", time.monotonic() + deadline_s
    while select.select([read], [], [], max(0.0, ends - time.monotonic()))[0]:
        piece = os.read(read, 65_536)
        if not piece:
            return found
        found += piece
    return None
