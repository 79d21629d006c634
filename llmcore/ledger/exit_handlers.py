"""Finish work when Python ends: write hits, settle requests.

`atexit` does not run in the children of `multiprocessing`: a child runs the finalizers of `multiprocessing` and then
calls `os._exit`. So a child registers `finish` as such a finalizer.
"""

from __future__ import annotations

import atexit
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

from llmcore import forks

__all__ = ["TIMEOUT_S", "AtExit", "finish", "watch"]

TIMEOUT_S: Final = 1.0
"""The seconds that all handlers together may wait for locks of other processes when Python ends."""


class AtExit(Protocol):
    """An object with work to finish when Python ends."""

    def at_exit(self, timeout_s: float) -> None:
        """Finish the work.

        Must not raise, nor wait for longer than *timeout_s*. Threads of this process may still run.
        """
        ...


_watched: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_state: Final = {"has_finalizer": False}


def watch(handler: AtExit) -> None:
    """Call `handler.at_exit(...)` when Python ends, unless *handler* has been garbage-collected."""
    _watched.add(handler)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        _register_finalizer()


def finish(clock: Callable[[], float] = time.monotonic) -> None:
    """Call all handlers.

    All handlers share `TIMEOUT_S`: if one handler uses all of it, the next handler has 0 seconds.

    Args:
        clock: Returns monotonic seconds.
    """
    end = clock() + TIMEOUT_S
    for handler in list(_watched):
        handler.at_exit(max(0.0, end - clock()))


def _register_finalizer(_: object = None) -> None:
    if not _state["has_finalizer"]:
        _state["has_finalizer"] = True
        sys.modules["multiprocessing.util"].Finalize(None, finish, exitpriority=0)


def _reset_in_child() -> None:
    """Register our finalizer in a child of `multiprocessing`, after the child has emptied its list of finalizers."""
    _state["has_finalizer"] = False
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(finish, _register_finalizer)


atexit.register(finish)
forks.call_in_child(_reset_in_child)
