"""Which processes are alive: each holds a lock on a small file of its own, which ends with it however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

from llmcore.builtin.forks import watch

__all__ = ["Owners"]


class Owners:
    """The processes that write one ledger. A lock is the same to all, in whatever container they run."""

    def __init__(self, ledger: Path) -> None:
        self._folder = ledger.with_name(ledger.name + ".owners")
        self._file: int | None = None
        self._name = ""
        self._lock = threading.Lock()
        watch(self)

    def me(self) -> str:
        """Return the name of this process, known to be alive from now on."""
        if self._file is None:
            with self._lock:
                if self._file is None:
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._name = os.urandom(16).hex()
                    file = os.open(self._folder / self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                    _locked(file)
                    self._file = file
        return self._name

    def is_dead(self, name: str) -> bool:
        """Return whether that process has ended; its file goes with the answer."""
        if name == self._name:
            return False
        path = self._folder / Path(name).name
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            dead = _locked(file)
        finally:
            os.close(file)
        if dead:
            with contextlib.suppress(OSError):
                path.unlink()
        return dead

    def close(self) -> None:
        """Leave: nothing of this process is open any more."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                (self._folder / self._name).unlink()
            os.close(file)

    def fork_locks(self) -> tuple[threading.Lock, ...]:
        """See `ForkAware`."""
        return (self._lock,)

    def after_fork(self, *, at_rest: bool) -> None:  # noqa: ARG002 - a child has a name of its own in either case
        """See `ForkAware`."""
        file, self._file, self._name = self._file, None, ""
        self._lock = threading.Lock()
        if file is not None:
            os.close(file)  # the parent's lock is the parent's; a copy of it would outlive the parent


if sys.platform == "win32":

    def _locked(file: int) -> bool:
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _locked(file: int) -> bool:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
