"""Read stdin in a thread, so that a batch continues, and can be interrupted, while stdin has no next line."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from llmcore.cli.batch_files import Row
from llmcore.errors import LLMCoreError
from llmcore.threads import start_thread

__all__ = ["stream_rows"]

_AHEAD: Final = 100
"""The number of rows to read in advance."""


async def stream_rows(read: Callable[[], Iterator[Row]]) -> AsyncIterator[Row]:
    """Run *read* in a separate thread and yield its items.

    The thread is a daemon: it may wait for stdin forever, and must not delay the end of the process.
    """
    import asyncio

    queue: asyncio.Queue[Any] = asyncio.Queue()
    slots = threading.Semaphore(_AHEAD)
    loop = asyncio.get_running_loop()

    def work() -> None:
        last: BaseException | None = None
        try:
            for row in read():
                slots.acquire()
                loop.call_soon_threadsafe(queue.put_nowait, (row, None))
        except BaseException as error:  # noqa: BLE001 - the loop below raises it
            last = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, (None, last))

    if not start_thread(threading.Thread(target=work, name="llmcore-stdin", daemon=True)):
        raise LLMCoreError("no thread can be started to read stdin", code="LC005")
    while True:
        row, error = await queue.get()
        if row is None:
            if error is not None:
                raise error
            return
        slots.release()
        yield row
