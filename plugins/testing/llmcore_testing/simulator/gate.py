"""A gate that delays requests while it is closed."""

from __future__ import annotations

import asyncio  # noqa: TID253 - `import llmcore` does not load this module
from threading import Lock

__all__ = ["Gate"]


class Gate:
    """A gate for requests. Any thread may open or close the gate; tasks of any event loop may wait for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shut = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def shut(self) -> bool:
        """True if the gate is closed."""
        return self._shut

    def hold(self) -> None:
        """Close the gate."""
        with self._lock:
            self._shut = True

    def release(self) -> None:
        """Open the gate and wake the waiting requests."""
        with self._lock:
            self._shut = False
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not (loop := future.get_loop()).is_closed():
                loop.call_soon_threadsafe(_set_done, future)

    async def wait_open(self) -> None:
        """Wait until the gate is open."""
        while True:
            with self._lock:
                if not self._shut:
                    return
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
            try:
                await future
            finally:
                with self._lock:
                    if future in self._waiting:
                        self._waiting.remove(future)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
