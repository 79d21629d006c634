"""Read the stacks of all threads, without the deadlock of Python 3.11."""

from __future__ import annotations

import gc
import sys
from types import FrameType

__all__ = ["get_frames"]


def get_frames() -> dict[int, FrameType]:
    """Return a dict from the ident of each thread to the current frame of that thread.

    Python 3.11 holds the lock of the list of threads while it creates the frames. Creating a frame may start a garbage
    collection, in which another thread may run. If that thread ends, it waits for the lock and holds the GIL, so the
    process hangs (python/cpython#106883). Therefore garbage collection is off during the call.
    """
    collects = sys.version_info < (3, 12) and gc.isenabled()
    if collects:
        gc.disable()
    try:
        return sys._current_frames()  # noqa: SLF001 - documented, with this name
    finally:
        if collects:
            gc.enable()
