"""Keep a plugin usable in processes that its application forks (gunicorn, Celery, multiprocessing).

A forked child has a copy of every lock, and one thread. In the child, a lock that another thread held is never
released, and a connection must not be shared with the parent. Three rules:

- Create locks with `lock()` instead of `threading.Lock()`: a fork waits until these locks are free.
- Pass an object with connections or threads to `watch()`. In the child, its method `after_fork()` must drop them. Use
  `call_in_child()` for the state of a module.
- If closing or collecting an old object would affect the parent (event loops), pass it to `leave_to_parent()`. If an object
  must not be open during a fork (SQLite), pass it to `close_before()`.
"""

from __future__ import annotations

from llmcore.forks import (
    Closing,
    ForkAware,
    Lock,
    call_in_child,
    close_before,
    delay,
    leave_to_parent,
    lock,
    was_free,
    watch,
)

__all__ = [
    "Closing",
    "ForkAware",
    "Lock",
    "call_in_child",
    "close_before",
    "delay",
    "leave_to_parent",
    "lock",
    "was_free",
    "watch",
]
