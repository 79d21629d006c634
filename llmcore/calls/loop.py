"""One event loop in a thread of its own, for blocking callers of what is only asynchronous."""

from __future__ import annotations

import asyncio  # noqa: TID253 - this module is imported at the first such call
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_in_loop"]

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* in the background loop and wait for its result.

    Works inside a running loop too, which it blocks, as every blocking call does.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _running_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()  # a Ctrl-C ends the call too, not the waiting alone
        raise


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():  # a fork takes the loop along and leaves its thread behind
            _loop, _pid = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="llmcore-loop", daemon=True).start()
        return _loop
