"""The rules for idle connections (keep-alive), shared by sync and async."""

from __future__ import annotations

import select
from typing import Final

__all__ = ["IDLE_S", "MAX_IDLE", "is_readable"]

MAX_IDLE: Final = 100
"""The maximum number of idle connections."""
IDLE_S: Final = 5.0
"""An idle connection is not reused after this many seconds, because the server may be closing it."""


def is_readable(descriptor: int) -> bool:
    """Return whether the socket is readable. An idle connection is then at its end, or has unexpected bytes."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
