"""Wait for a condition that another thread, process or task makes true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic, sleep  # by name: some tests replace the clock of the module

PATIENCE_S = 120.0
"""More than a loaded machine needs, and less than the time limit of a test."""


def wait_until(condition: Callable[[], object]) -> None:
    end = monotonic() + PATIENCE_S
    while not condition():
        assert monotonic() < end, f"the condition was not met in {PATIENCE_S:.0f} s"
        sleep(0.002)


async def await_until(condition: Callable[[], object]) -> None:
    end = monotonic() + PATIENCE_S
    while not condition():
        assert monotonic() < end, f"the condition was not met in {PATIENCE_S:.0f} s"
        await asyncio.sleep(0.002)
