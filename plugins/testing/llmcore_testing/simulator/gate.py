"""A gate that holds requests back while it is shut."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a simulator is
from threading import Lock

__all__ = ["Gate"]


class Gate:
    """Any thread may shut and open it. Tasks of any event loop may wait for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shut = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def shut(self) -> bool:
        """Whether requests wait."""
        return self._shut

    def hold(self) -> None:
        """Shut the gate."""
        with self._lock:
            self._shut = True

    def release(self) -> None:
        """Open the gate for waiting and for new requests."""
        with self._lock:
            self._shut = False
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not (loop := future.get_loop()).is_closed():
                loop.call_soon_threadsafe(_open, future)

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


def _open(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
