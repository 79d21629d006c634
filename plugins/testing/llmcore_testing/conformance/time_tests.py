"""Tests of cancellation and of a second event loop."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only tests import this module
import contextlib
from typing import Final

import pytest

from llmcore_testing.conformance.base import Conformance
from llmcore_testing.conformance.caller import Call

__all__ = ["TimeTests"]

_CROWD: Final = 4
"""The number of concurrent calls, enough to make them wait for each other."""
_TURNS: Final = (0, 1, 3, 10, 30)
"""Numbers of iterations that the event loop makes before a call is cancelled. Different numbers cancel the call at
different `await`s."""
_LOOKS: Final = 50
_LOOK_S: Final = 0.01
"""The pause in seconds between checks of a cancelled task. The test counts checks, not seconds, so it also passes on a
machine that stops for a while."""


class TimeTests(Conformance):
    """Tests that a cancelled task ends, that the backend works afterwards, and that a second event loop works."""

    def make_call(self) -> Call:
        """Return a call that succeeds: the sync name of a method, then the arguments."""
        raise NotImplementedError

    def test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable(self) -> None:
        if self.caller.variant == "sync":  # a blocking call cannot be cancelled
            return
        name, *args = self.make_call()
        for turns in _TURNS:
            ended = self.caller.run(self._cancel(turns), self.caller.get_name(name))
            assert ended, f"{self.caller.get_name(name)} must end within 0.5 s after its task was cancelled"
        self.call(name, *args)

    def test_a_second_event_loop_is_served_after_the_first_one(self) -> None:
        """Asyncio's locks and connections work only on the first event loop on which a task waited for them."""
        if self.caller.variant == "sync":
            return
        calls = [self.make_call() for _ in range(_CROWD)]
        self.together(calls)
        for _ in range(2):
            with self.caller.on_another_loop() as second:
                try:
                    second.together(calls)
                except RuntimeError as error:
                    fault = f"{self.caller.get_name(calls[0][0])} must work on a second event loop, raised {error!r}"
                else:
                    continue
            pytest.fail(fault)
        self.together(calls)

    async def _cancel(self, turns: int) -> bool:
        name, *args = self.make_call()
        method = getattr(self.caller.provider, self.caller.get_name(name))
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
