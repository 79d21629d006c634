"""Track which processes are alive.

Each process locks its own small file, and the system releases the lock when the process ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from llmcore.support import forks
from llmcore.support.ledger_owners import is_past

__all__ = ["Owners"]


class Owners:
    """The processes that write to one ledger. File locks work across containers, unlike process ids."""

    def __init__(self, ledger: Path) -> None:
        self._folder = ledger.with_name(ledger.name + ".owners")
        self._file: int | None = None
        self._name = ""
        self._lock = forks.lock()
        forks.watch(self)

    def get_own_name(self) -> str:
        """Return the name of this process. The first call creates and locks the file of the process."""
        if self._file is None:
            with self._lock:
                if self._file is None:
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._name = os.urandom(16).hex()
                    file = os.open(self._folder / self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                    _try_lock(file)
                    self._file = file
        return self._name

    @property
    def name(self) -> str:
        """The name of this process; empty before `get_own_name`."""
        return self._name

    def is_dead(self, name: str) -> bool:
        """Return whether process *name* has ended. Delete the file of an ended process."""
        if name == self._name:
            return False
        if (past := is_past(name)) is not None:
            return past
        path = self._folder / Path(name).name
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            dead = _try_lock(file)
        finally:
            os.close(file)
        if dead:
            with contextlib.suppress(OSError):
                path.unlink()
        return dead

    def close(self) -> None:
        """Release the lock. The process must have no open rows."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                (self._folder / self._name).unlink()
            os.close(file)

    def after_fork(self) -> None:
        """Give the child a new name; see `forks.ForkAware`."""
        file, self._file, self._name = self._file, None, ""
        if file is not None:
            # an inherited copy of the parent's file would hold the lock after the parent's end
            os.close(file)


if sys.platform == "win32":

    def _try_lock(file: int) -> bool:
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _try_lock(file: int) -> bool:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
