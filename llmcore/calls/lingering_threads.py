"""Warn about threads of plugins that keep the program alive after its last line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

from llmcore import forks
from llmcore.log import get_logger

__all__ = ["name_lingering_threads"]

_PATIENCE_S: Final = 1.0
"""Seconds that a thread may take to end after the program has ended."""

_owners: Final[WeakKeyDictionary[threading.Thread, str]] = WeakKeyDictionary()
"""Non-daemon thread -> the provider that started the thread."""
_packages: Final[dict[str, str]] = {}
"""Package of a plugin -> the provider that was created from it."""
_lock: Final = forks.lock()
_is_watching: list[bool] = []


@contextmanager
def name_lingering_threads(owner: str, make: Callable[..., Any]) -> Iterator[None]:
    """Remember the threads that start while *make* creates *owner*.

    If Python waits for such threads when the program ends, a warning names the threads.
    """
    package = str(getattr(make, "__module__", "")).partition(".")[0]
    if package == "llmcore":
        yield
        return
    before = set(threading.enumerate())
    try:
        yield
    finally:
        _packages[package] = owner
        for thread in set(threading.enumerate()) - before:
            if not thread.daemon:
                _owners[thread] = owner
        _watch_exit()


def _watch_exit() -> None:
    with _lock:
        if _is_watching:
            return
        _is_watching.append(True)
    # this is the only hook that runs before Python waits for the threads; concurrent.futures uses it too
    register: Any = getattr(threading, "_register_atexit", None)
    if register is not None:
        try:
            register(_start_watching)
        except RuntimeError:  # Python is exiting
            return


def _start_watching() -> None:
    watcher = threading.Thread(target=_warn_of_threads, name="llmcore-exit", daemon=True)
    try:
        watcher.start()
    except RuntimeError:  # no thread can be started
        return


def _warn_of_threads() -> None:
    time.sleep(_PATIENCE_S)
    for thread in threading.enumerate():
        owner = None if thread.daemon or thread is threading.main_thread() else _find_owner(thread)
        if owner is not None:
            get_logger(__name__).warning(
                "the program does not end, because the thread %r of %s still runs: start it with daemon=True",
                thread.name,
                owner,
            )


def _find_owner(thread: threading.Thread) -> str | None:
    if thread in _owners:
        return _owners[thread]
    target: Any = getattr(thread, "_target", None) or type(thread)
    return _packages.get(str(getattr(target, "__module__", "")).partition(".")[0])
