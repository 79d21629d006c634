"""A separate ledger for simulated calls. Simulated calls cost nothing, so a user's budgets must not count them."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Final

from llmcore import forks

__all__ = ["VARIABLE", "SeparateLedger"]

VARIABLE: Final = "LLMCORE_SIMULATOR_LEDGER"
"""The environment variable with the path of this ledger.

A Core reads the variable if its configuration names no ledger.
"""


class SeparateLedger:
    """The ledger that all simulators of this process share.

    The first simulator creates the ledger; the last simulator deletes it.
    """

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._users = 0
        self._folder: str | None = None

    def join(self) -> None:
        """Make every Core that is loaded later use this ledger, unless the variable is already set."""
        with self._lock:
            self._users += 1
            if self._users == 1 and not os.environ.get(VARIABLE):
                self._folder = tempfile.mkdtemp(prefix="llmcore-simulator-")
                os.environ[VARIABLE] = str(Path(self._folder, "ledger.sqlite3"))

    def leave(self) -> None:
        """Delete the ledger if no other simulator uses it."""
        with self._lock:
            self._users -= 1
            if self._users or self._folder is None:
                return
            folder, self._folder = self._folder, None
        if Path(os.environ.get(VARIABLE, "")).parent == Path(folder):
            del os.environ[VARIABLE]
        with suppress(OSError):
            rmtree(folder)
