"""Owners of open ledger rows: a row belongs to a process, or to a run with requests in a vendor's batch.

A later process settles the requests of a vendor's batch, so the rows of these requests do not belong to a process.
"""

from __future__ import annotations

import time
from typing import Final

__all__ = ["is_past", "make_key", "make_owner"]

_PREFIX: Final = "until:"


def make_owner(name: str, until: float) -> str:
    """Return the owner of rows that the run *name* must settle before *until*, in seconds since 1970."""
    return f"{_PREFIX}{until:.6f}:{name}"


def make_key(owner: str, call: str) -> str:
    """Return the key of the row of *call* with *owner*. A later process derives the same key from the row."""
    return f"{owner}:{call}"


def is_past(owner: str) -> bool | None:
    """Return whether the deadline of *owner* has passed; None if *owner* is a process."""
    if not owner.startswith(_PREFIX):
        return None
    return time.time() > float(owner.split(":")[1])
