"""Fork safety: before a fork, wait until other threads have released llmcore's locks and have finished their imports.

A forked child has a copy of every lock, but only the thread that forked. A lock that another thread held at that moment would
never be released in the child, and a module that another thread was importing would never be ready there.

Before a fork, the forking thread acquires every lock that `lock` made, and waits for imports of other threads. It stops
waiting for an import after `_IMPORT_PATIENCE_S`, or after `_FOREIGN_PATIENCE_S` if the import is not llmcore's. It stops
waiting for locks after `PATIENCE_S`, or when it stops waiting for imports if that is later. Without these limits, the
fork would never happen if a thread holds a lock while it waits for the forking thread.

In the child, every lock is free, even after a timeout, except a lock that the forking thread itself held before the
fork. Each object that was passed to `watch` replaces its connections and threads, which belong to the parent.
"""

from __future__ import annotations

import _imp
import os
import sys
import threading
import time
import weakref
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from llmcore.frames import get_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

__all__ = [
    "PATIENCE_S",
    "Closing",
    "ForkAware",
    "Lock",
    "call_in_child",
    "close_before",
    "delay",
    "leave_to_parent",
    "lock",
    "was_free",
    "watch",
]

PATIENCE_S = 10.0
"""Maximum seconds that a fork waits for locks. A fork that waits longer for an import also waits longer for locks."""
_IMPORT_PATIENCE_S = 60.0
"""Maximum seconds that a fork waits for another thread that is importing llmcore.

The time is long because imports are slow on a busy machine, and because without the wait the child may hang.
"""
_FOREIGN_PATIENCE_S: Final = 0.25
"""Maximum seconds that a fork waits for an import of another package.

The time is short because a whole program may run inside the import of its main module.
"""
_SLICE_S: Final = 0.02
"""Seconds to wait for one lock while the fork holds others.

After that time, the fork releases all its locks and starts again, which prevents a deadlock.
"""
_QUIET_S: Final = 0.01
"""A fork that had to wait continues only after the locks were free for this many seconds.

The first call to a provider loads its plugin, then creates the provider and its client. Between two of these
steps the locks are free for a moment. A child that is forked in that moment must repeat all steps.
"""
_IMPORTLIB: Final = "<frozen importlib._bootstrap>"
_LOCKED_BY_HOOKS: Final = {"logging": "_lock", "concurrent.futures.thread": "_global_shutdown_lock"}
"""Module of the standard library -> the name of its lock. The module's own fork hooks acquire the lock before a fork and
release it afterwards.
"""

T = TypeVar("T")
Lock: TypeAlias = "threading.RLock"
"""The type of the locks that `lock` returns."""


class ForkAware(Protocol):
    """An object with connections, threads or queued work, which a forked child must not use."""

    def after_fork(self) -> None:
        """Replace the connections, threads and queued work.

        Called in the child's only thread, after the locks made by `lock` were freed.
        """
        ...


class Closing(Protocol):
    """An object with a file or connection that must not be open during a fork."""

    def before_fork(self) -> None:
        """Close the file or connection; the next use opens it again.

        Called in the parent, which holds all locks made by `lock`.
        """
        ...


class _Registry(Generic[T]):
    """Weak references to objects, hashable or not. Adding and iterating are thread-safe."""

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[T]] = {}

    def add(self, thing: T) -> None:
        key, references = id(thing), self._references
        references[key] = weakref.ref(thing, lambda _: references.pop(key, None))

    def __iter__(self) -> Iterator[T]:
        for reference in list(self._references.values()):
            thing = reference()
            if thing is not None:
                yield thing


class _Fork(threading.local):
    """The fork that this thread is making."""

    def __init__(self) -> None:
        self.held: list[Lock] = []
        self.owned: set[int] = set()
        """The ids of the locks that the forking thread held before the fork."""
        self.holds_imports = False


_locks: Final[_Registry[Lock]] = _Registry()
_watched: Final[_Registry[ForkAware]] = _Registry()
_closed_before: Final[_Registry[Closing]] = _Registry()
_forking: Final[Lock] = threading.RLock()
"""A lock that lets only one thread fork at a time. A fork that stops waiting for locks skips this one too."""
_fork: Final = _Fork()
_functions: Final[list[Callable[[], object]]] = []
_left_to_parent: Final[list[object]] = []


def lock() -> Lock:
    """Return a new re-entrant lock. A fork waits until other threads have released the lock, so the child can use it.

    The lock is a `threading.RLock`. Do not hold it while you wait for the network.
    """
    new_lock = threading.RLock()
    _locks.add(new_lock)
    return new_lock


def delay() -> AbstractContextManager[object]:
    """Return a context manager that delays forks. Use it around calls of a library that has its own locks.

    Example:
        with forks.delay():
            client = vendor.Client()
    """
    return lock()


def watch(thing: ForkAware) -> None:
    """Register *thing*, by a weak reference, so that `thing.after_fork()` is called in every child."""
    _watched.add(thing)


def close_before(thing: Closing) -> None:
    """Register *thing*, by a weak reference, so that `thing.before_fork()` is called before every fork."""
    _closed_before.add(thing)


def call_in_child(function: Callable[[], object]) -> None:
    """Register *function*, which is called in every child. Use it to reset the state of a module."""
    _functions.append(function)


def was_free(lock_: Lock) -> bool:
    """Return whether only the fork itself held *lock_* at the moment of the fork.

    If so, no code was changing the state that the lock guards.

    Call this function only in `before_fork` and `after_fork`.
    """
    return id(lock_) not in _fork.owned and any(held is lock_ for held in _fork.held)


def leave_to_parent(thing: object) -> None:
    """Keep *thing* alive in a child.

    In the child, closing or garbage-collecting *thing* would disturb the parent, which still uses it. An event loop's
    selector and an SQLite file, for example, are shared with the parent.
    """
    if thing is not None:
        _left_to_parent.append(thing)


# -- before the fork


def _before_fork() -> None:
    begun, first, quiet = time.monotonic(), _forking, True
    unhooked = [name for name in _LOCKED_BY_HOOKS if name not in sys.modules]
    try:
        while True:
            waited_s = time.monotonic() - begun
            late = waited_s >= PATIENCE_S and _count_slow_imports(waited_s) == 0
            missing = _acquire_all(first, late=late)
            ready = missing is None and _stop_imports(waited_s)
            if ready and (quiet or late):
                _acquire_late_locks(unhooked)
                _call_all(thing.before_fork for thing in _closed_before)
                return
            _release_all()
            quiet = ready
            if missing is not None:
                first = missing
            else:
                time.sleep(_QUIET_S if ready else 0.001)
    except BaseException:  # such as Ctrl-C; release the locks, because Python forks in spite of the exception
        _release_all()
        raise


def _acquire_all(first: Lock, *, late: bool) -> Lock | None:
    """Acquire every lock, beginning with *first*.

    Return a lock that was not free, or None if all were acquired. If *late* is True, skip the locks that are not free.
    """
    order: list[Any] = [first, *(other for other in (_forking, *_locks) if other is not first)]
    for each in order:
        if each._is_owned():  # noqa: SLF001 - the method that `threading.Condition` uses
            _fork.owned.add(id(each))
        if each.acquire(timeout=0 if late else _SLICE_S):
            _fork.held.append(each)
        elif not late:
            missing: Lock = each
            return missing
    return None


def _release_all() -> None:
    if _fork.holds_imports:
        _fork.holds_imports = False
        _imp.release_lock()
    while _fork.held:
        _fork.held.pop().release()
    _fork.owned.clear()


def _stop_imports(waited_s: float) -> bool:
    """Prevent other threads from starting an import.

    Return False if an import is in progress and the fork has time to wait for it. This function acquires the import
    lock, which guards the table of module locks. Other threads hold the import lock for microseconds only, so
    waiting for it needs no timeout. Python's own fork acquires it too.
    """
    _imp.acquire_lock()
    _fork.holds_imports = True
    return _count_slow_imports(waited_s) == 0


def _count_slow_imports(waited_s: float) -> int:
    """Return the number of other threads whose imports the fork must still wait for, after waiting *waited_s* seconds."""
    me = threading.get_ident()
    return sum(
        thread != me and _get_import_timeout(frame) > waited_s for thread, frame in get_frames().items()
    )


def _acquire_late_locks(names: list[str]) -> None:
    """Acquire the locks of modules that were imported after this fork began.

    Such a module registered its fork hooks after Python had called the hooks that acquire locks. For this fork, Python
    calls only the hook by which the module releases the lock.
    """
    for name in names:
        hooked = getattr(sys.modules.get(name), _LOCKED_BY_HOOKS[name], None)
        if hooked is not None:
            hooked.acquire(timeout=PATIENCE_S)


def _get_import_timeout(frame: FrameType | None) -> float:
    """Return the seconds to wait for the thread that executes *frame*; 0 if it is not importing."""
    importing = False
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTLIB:
            importing = True
        elif importing and str(frame.f_globals.get("__name__")).startswith("llmcore"):
            return _IMPORT_PATIENCE_S
        frame = frame.f_back
    return _FOREIGN_PATIENCE_S if importing else 0.0


# -- after the fork


def _after_fork_in_child() -> None:
    if _fork.holds_imports:
        _fork.holds_imports = False
        _imp.release_lock()
    for each in (_forking, *_locks):
        if id(each) not in _fork.owned:
            each._at_fork_reinit()  # noqa: SLF001 - the method that `threading` and `logging` use
        elif any(held is each for held in _fork.held):
            # release each lock once: the forking thread keeps the locks that it held before the fork
            each.release()
    _call_all((*_functions, *(thing.after_fork for thing in _watched)))
    _fork.held.clear()
    _fork.owned.clear()


def _call_all(functions: Iterable[Callable[[], object]]) -> None:
    for function in functions:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - the remaining functions must still be called
            from llmcore.log import get_logger

            name = getattr(function, "__qualname__", type(function).__qualname__)
            get_logger(__name__).warning("%s failed in a fork: %s", name, type(error).__name__)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_release_all, after_in_child=_after_fork_in_child
    )
