"""Keeps objects with locks and open files whole over a fork: none is forked in the middle of its work."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Protocol

__all__ = ["ForkAware", "Lock", "Renewable", "renew", "watch"]

_PATIENCE_S = 2.0
"""Longer than any work under a lock takes; a lock that is not had by then belongs to the forking thread itself."""


class Lock(Protocol):
    """A lock of `threading`, re-entrant or not."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as threading has it
        """Take it; return whether that was done."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class ForkAware(Protocol):
    """Holds something that a forked child must not use as it is."""

    def fork_locks(self) -> Sequence[Lock]:
        """Return the locks under which all work is done, in the order in which they are taken."""
        ...

    def after_fork(self, *, at_rest: bool) -> None:
        """Put fresh locks and handles in place; called in the child. *at_rest*: nobody was at work."""
        ...


class Renewable(Protocol):
    """Holds locks that a forked child may find taken by a thread which it has not, and what they guard is no loss."""

    def renewed(self) -> None:
        """Put fresh locks in place, and let go of what they guarded; called in the child."""
        ...


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_renewed: weakref.WeakSet[Renewable] = weakref.WeakSet()
_held: list[tuple[ForkAware, list[Lock], bool]] = []


def watch(thing: ForkAware) -> None:
    """Look after *thing* over every fork, while it lives."""
    _watched.add(thing)


def renew(thing: Renewable) -> None:
    """Have *thing* renewed in every forked child, while it lives; nobody waits for its locks before the fork."""
    _renewed.add(thing)


def _before() -> None:
    for thing in list(_watched):
        wanted = thing.fork_locks()
        taken = [lock for lock in wanted if lock.acquire(timeout=_PATIENCE_S)]
        _held.append((thing, taken, len(taken) == len(wanted)))


def _in_parent() -> None:
    for _, taken, _ in _held:
        for lock in taken:
            lock.release()
    _held.clear()


def _in_child() -> None:
    for thing, _, at_rest in _held:
        thing.after_fork(at_rest=at_rest)
    _held.clear()
    for renewable in list(_renewed):
        renewable.renewed()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
