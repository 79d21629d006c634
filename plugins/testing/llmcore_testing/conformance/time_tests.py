"""Tests of cancellation: part of every kit."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only by tests
import contextlib
from typing import Final

from llmcore_testing.conformance.base import Conformance
from llmcore_testing.conformance.calling import Call

__all__ = ["TimeTests"]

_TURNS: Final = (0, 1, 3, 10, 30)
"""Turns of the event loop before the call is cancelled. Each number cancels it at another place."""
_LOOKS: Final = 50
_LOOK_S: Final = 0.01
"""A cancelled task must end within `_LOOKS` of these: 0.5 s, and longer on a machine that is slower than its timers."""


class TimeTests(Conformance):
    """Tests that a cancelled task ends and leaves the backend usable."""

    def make_call(self) -> Call:
        """Return a call that succeeds: the sync name of a method, then its arguments."""
        raise NotImplementedError

    def test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable(self) -> None:
        if self.caller.variant == "sync":  # a blocking call cannot be cancelled
            return
        name, *args = self.make_call()
        for turns in _TURNS:
            ended = self.caller.run(self._cancel(turns), self.caller.spelt(name))
            assert ended, f"{self.caller.spelt(name)} must end within 0.5 s after its task was cancelled"
        self.call(name, *args)

    async def _cancel(self, turns: int) -> bool:
        name, *args = self.make_call()
        method = getattr(self.caller.provider, self.caller.spelt(name))
        task = asyncio.ensure_future(method(*args))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(_LOOKS):
            await asyncio.wait({task}, timeout=_LOOK_S)
            if task.done():
                break
        else:
            return False
        with contextlib.suppress(asyncio.CancelledError):
            assert task.cancelled() or task.exception() is None, (
                f"a cancelled task raised {task.exception()!r}"
            )
        return True
