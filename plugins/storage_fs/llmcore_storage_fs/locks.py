"""Locks folders for the moment in which a name gets another file, so that a condition still holds when it is used.

The kernel drops a lock with its holder, in whatever way that ends.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["AMONG_PROCESSES", "exclusively", "held", "try_lock"]

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows removes no open file, which does as well, and renames none, which does not
    _fcntl = None

AMONG_PROCESSES: Final = _fcntl is not None
"""Whether this system has such locks; where not, they hold among the threads of one process."""

PATIENCE_S = 30.0
"""A lock is held for microseconds: who cannot have it for so long waits for a process that is stopped."""
_FIRST_PAUSE_S: Final = 0.0001
_LONGEST_PAUSE_S: Final = 0.005
_here: Final = threading.Lock()


@contextmanager
def held(fd: int, *, must: bool) -> Iterator[None]:
    """Hold the folder *fd* locked.

    Args:
        fd: Opened for this call alone: a lock belongs to the opening.
        must: Whether to fail where the file system has no locks, rather than to go on without.

    Raises:
        OSError: With EAGAIN, somebody held it all the time; with ENOLCK, there are no locks.
    """
    if _fcntl is None:
        with exclusively():
            yield
        return
    locked = _wait(fd)
    if must and not locked:
        raise OSError(errno.ENOLCK, "this file system locks no folders, so no condition can be held")
    try:
        yield
    finally:
        if locked:
            _fcntl.flock(fd, _fcntl.LOCK_UN)


@contextmanager
def exclusively() -> Iterator[None]:
    """Keep the other threads of this process out: all there is where the system has no such locks."""
    if not _here.acquire(timeout=PATIENCE_S):
        raise OSError(errno.EAGAIN, "another thread holds the storage locked")
    try:
        yield
    finally:
        _here.release()


def try_lock(fd: int) -> bool | None:
    """Take the lock; return whether it was free, None where the file system has no locks."""
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
        ends = ends or now + PATIENCE_S
        if now > ends:
            raise OSError(errno.EAGAIN, "another process holds the folder locked")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)
    return got is True
