"""Folder locks (flock). A writer holds the lock from the check of a condition until the rename.

The kernel releases a lock when the process ends, even after a crash.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from llmcore.support import forks

__all__ = ["AMONG_PROCESSES", "TIMEOUT_S", "hold_lock", "lock_threads", "try_lock"]

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None

AMONG_PROCESSES: Final = _fcntl is not None
"""True if this system has locks between processes. Otherwise a lock excludes only threads of this process."""

TIMEOUT_S = 30.0
"""Maximum seconds to wait for a lock. A lock is normally held for microseconds, so a timeout means that its
holder is suspended.
"""
_FIRST_PAUSE_S: Final = 0.0001
_LONGEST_PAUSE_S: Final = 0.005
_here: Final = forks.lock()


@contextmanager
def hold_lock(fd: int, *, must: bool) -> Iterator[None]:
    """Lock the folder with the descriptor *fd* inside the context.

    Args:
        fd: A descriptor that no other thread uses. Threads that share a descriptor would share the lock.
        must: True to raise an error if the file system has no locks; False to continue without a lock.

    Raises:
        OSError: EAGAIN after the timeout; ENOLCK if *must* is true and the file system has no locks.
    """
    if _fcntl is None:
        with lock_threads():
            yield
        return
    locked = _wait(fd)
    if must and not locked:
        raise OSError(errno.ENOLCK, "this file system does not support locks, which conditional saves need")
    try:
        yield
    finally:
        if locked:
            _fcntl.flock(fd, _fcntl.LOCK_UN)


@contextmanager
def lock_threads() -> Iterator[None]:
    """Exclude the other threads of this process. Used on systems without file locks."""
    if not _here.acquire(timeout=TIMEOUT_S):
        raise OSError(errno.EAGAIN, "another thread holds the storage lock")
    try:
        yield
    finally:
        _here.release()


def try_lock(fd: int) -> bool | None:
    """Try to acquire the lock. Return whether the lock was acquired; None if the file system has no locks."""
    if _fcntl is None:
        return None
    try:
        _fcntl.flock(fd, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _wait(fd: int) -> bool:
    ends, pause = 0.0, _FIRST_PAUSE_S
    while (got := try_lock(fd)) is False:
        now = time.monotonic()
        ends = ends or now + TIMEOUT_S
        if now > ends:
            raise OSError(errno.EAGAIN, "another process holds the folder lock")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)
    return got is True
