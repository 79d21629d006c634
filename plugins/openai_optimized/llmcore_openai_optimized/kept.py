"""The rules for kept connections, the same in sync and async."""

from __future__ import annotations

import select
from typing import Final

__all__ = ["IDLE_S", "MAX_IDLE", "is_readable"]

MAX_IDLE: Final = 100
"""Maximum number of connections that are kept for later requests."""
IDLE_S: Final = 5.0
"""Seconds after which a kept connection is not used again: the server may be about to close it."""


def is_readable(descriptor: int) -> bool:
    """Return whether the socket has data to read: the end of a kept connection, or unexpected bytes."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
