"""Finish work when Python ends: write hits, settle requests.

`atexit` does not run in the children of `multiprocessing`: they run their own finalizers and then call `os._exit`.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from typing import Any, Final, Protocol

from llmcore import forks

__all__ = ["AtExit", "watch"]


class AtExit(Protocol):
    """An object with work to finish when Python ends."""

    def at_exit(self) -> None:
        """Finish the work. Must not raise. Threads of this process may still run."""
        ...


_watched: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_state: Final = {"has_finalizer": False}


def watch(handler: AtExit) -> None:
    """Call `handler.at_exit()` when Python ends, unless *handler* was collected before."""
    _watched.add(handler)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        _register_finalizer()


def _finish(_: object = None) -> None:
    for handler in list(_watched):
        handler.at_exit()


def _register_finalizer(_: object = None) -> None:
    if not _state["has_finalizer"]:
        _state["has_finalizer"] = True
        sys.modules["multiprocessing.util"].Finalize(None, _finish, exitpriority=0)


def _reset_in_child() -> None:
    """Register our finalizer in a child of `multiprocessing`, after it has emptied the list of finalizers."""
    _state["has_finalizer"] = False
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(_finish, _register_finalizer)


atexit.register(_finish)
forks.call_in_child(_reset_in_child)
