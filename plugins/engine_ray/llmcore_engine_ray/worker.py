"""Call a function in a worker of Ray."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Any

__all__ = ["call"]


def call(function: Callable[[bytes], bytes], data: bytes) -> tuple[bytes, str]:
    """Return the result of `function(data)`, or its exception as a text.

    Not every exception can be pickled, and Ray ends a worker whose task raises `SystemExit`. `ray.cancel` interrupts a
    running task with SIGINT. The task ignores the signal, because the requests in flight are billed anyway. After the
    task, the process gets its previous handler back, because Ray uses the process for further tasks.
    """
    handler: Any = None
    # `signal` raises ValueError outside of the main thread. SIGINT does not interrupt those threads.
    with contextlib.suppress(ValueError):
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return function(data), ""
    except BaseException as error:  # noqa: BLE001 - also SystemExit, which would end the worker
        return b"", f"{type(error).__name__}: {error}"
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
