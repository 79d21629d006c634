"""Detect clients that disconnect before the end of their answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["ClientLeft", "Watch", "wait_for_disconnect"]

Receive = Callable[[], Awaitable[dict[str, Any]]]


class ClientLeft(Exception):
    """The client closed its connection before the answer was complete."""


class Watch:
    """When the client disconnects, cancels the task that created this watch.

    A second task watches the connection. It is started when the first task waits for the first time, so an answer from
    the memory tier, which needs no wait, starts no second task.
    """

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI application runs in a task
        self._task: asyncio.Task[Any] = task
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._start_handle = asyncio.get_running_loop().call_soon(self._start)
        self.has_left = False

    def stop(self) -> None:
        """End the watch."""
        self._start_handle.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def forgive(self) -> None:
        """Undo the cancellation of the task.

        The cancellation has ended the work for the client. The rest of the task continues.
        """
        self._task.uncancel()

    def _start(self) -> None:
        self._watcher = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        await wait_for_disconnect(self._receive)
        self.has_left = True
        self._task.cancel()


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
