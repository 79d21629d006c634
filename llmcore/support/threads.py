"""Keep a plugin working if the system cannot start threads, and while Python exits.

`start_thread` returns whether the thread started. `run_in_thread` is like `asyncio.to_thread`, and `submit` like the
method of an executor, but both work without a thread.
"""

from __future__ import annotations

from llmcore.threads import NO_THREAD, run_in_thread, start_thread, submit

__all__ = ["NO_THREAD", "run_in_thread", "start_thread", "submit"]
