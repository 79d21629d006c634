"""Owners of open rows of a ledger that are not processes: requests in a vendor's batch are settled by a later process."""

from __future__ import annotations

import time
from typing import Final

__all__ = ["is_past", "make_owner"]

_PREFIX: Final = "until:"


def make_owner(name: str, until: float) -> str:
    """Return the owner of rows that the run *name* settles until *until*, in seconds since 1970."""
    return f"{_PREFIX}{until:.0f}:{name}"


def is_past(owner: str) -> bool | None:
    """Return whether the time of *owner* is over, so that its rows count as lost; None if it is a process."""
    if not owner.startswith(_PREFIX):
        return None
    return time.time() > float(owner.split(":")[1])
