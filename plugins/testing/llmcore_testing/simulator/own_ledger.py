"""A separate ledger for simulated calls: they cost nothing, so the user's budgets must not count them."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Final

from llmcore import forks

__all__ = ["VARIABLE", "OwnLedger"]

VARIABLE: Final = "LLMCORE_SIMULATOR_LEDGER"
"""Names the file to every Core of this process and of its children whose configuration names none."""


class OwnLedger:
    """The ledger that the simulators of this process share. The first one creates it, the last one deletes it."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._users = 0
        self._folder: str | None = None

    def join(self) -> None:
        """Make configurations that are loaded from now on use this ledger, unless another process set one."""
        with self._lock:
            self._users += 1
            if self._users == 1 and not os.environ.get(VARIABLE):
                self._folder = tempfile.mkdtemp(prefix="llmcore-simulator-")
                os.environ[VARIABLE] = str(Path(self._folder, "ledger.sqlite3"))

    def leave(self) -> None:
        """Delete the ledger with its last user."""
        with self._lock:
            self._users -= 1
            if self._users or self._folder is None:
                return
            folder, self._folder = self._folder, None
        if Path(os.environ.get(VARIABLE, "")).parent == Path(folder):
            del os.environ[VARIABLE]
        with suppress(OSError):
            rmtree(folder)
