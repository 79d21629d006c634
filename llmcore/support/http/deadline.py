"""Map the deadline of a call to the timeouts of an HTTP client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["RequestDeadline", "get_deadline"]

_CONNECT_S: Final = 5.0
_DEFAULT_S: Final = 600.0
_SHORTEST_S: Final = 0.001
"""The shortest timeout, in seconds. For a socket, a timeout of 0 would mean "do not block"."""


class RequestDeadline:
    """The remaining time of one request, computed whenever the transport needs it.

    Pass the object as `request.extensions["timeout"]`: httpx calls `get("connect")`, `get("read")`, ... before each
    step. A fixed `httpx.Timeout` would allow the whole time for each step.
    """

    __slots__ = ("_ends", "_idle_s", "begun")

    def __init__(
        self, timeout_s: float | None, idle_s: float | None, *, default_s: float = _DEFAULT_S
    ) -> None:
        """Start to count.

        Args:
            timeout_s: Seconds for the whole request; None for *default_s*.
            idle_s: Longest silence in seconds once the answer has begun; None for no limit.
            default_s: Seconds for a request without a deadline.
        """
        self._ends = time.monotonic() + (default_s if timeout_s is None else timeout_s)
        self._idle_s = idle_s
        self.begun = False
        """True if the head of the answer has arrived. The provider sets it, and `idle_s` applies from then on."""

    def get(self, step: str, default: float | None = None) -> float | None:  # noqa: ARG002 - `Mapping.get` has the parameter
        """Return the seconds for *step*: connect, read, write or pool."""
        left = max(self._ends - time.monotonic(), _SHORTEST_S)
        if step == "connect":
            return min(left, _CONNECT_S)
        if step == "read" and self.begun and self._idle_s is not None:
            return min(left, self._idle_s)
        return left

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Make `get_deadline` return this deadline inside the block.

        The HTTP client in an SDK reads the deadline this way.
        """
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def check(self) -> None:
        """Raise TimeoutError if the time is over.

        Call this for each piece of a body, because a slow server may send small pieces for ever.
        """
        if time.monotonic() >= self._ends:
            raise TimeoutError


_current: Final[ContextVar[RequestDeadline]] = ContextVar("llmcore_request_deadline")


def get_deadline() -> RequestDeadline:
    """Return the deadline of the request that is sent in this context; see `RequestDeadline.apply`."""
    return _current.get()
