"""An event loop in a thread, for blocking readers of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from llmcore.errors import LLMCoreError
from llmcore.threads import start_thread

__all__ = ["LoopThread"]


class LoopThread:
    """An event loop in a thread, for blocking readers of a run. Requests continue while the reader works."""

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llmcore-batch", daemon=True)
        self._submit: Any = asyncio.run_coroutine_threadsafe
        if not start_thread(self._thread):
            self._loop.close()
            raise LLMCoreError("no thread can be started for the batch", code="LC005")

    def run(self, make: Callable[..., Any], *args: Any) -> Any:
        """Call *make* in the loop and return the result."""

        async def call() -> Any:
            return make(*args)

        return self.wait(call())

    def wait(self, work: Any) -> Any:
        """Run the coroutine *work* in the loop and return the result."""
        future = self._submit(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop."""
        if self._thread.is_alive():
            self._submit(self._loop.shutdown_asyncgens(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
