"""Runs of batches on engines: configurations, worker processes, and an engine that runs everything twice."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

from llmcore_testing.simulator import Simulator

__all__ = ["KEY", "CountsSlowly", "RunsTwice", "find_children", "make_config"]

KEY = "LLMCORE_TEST_ENGINE_KEY"
"""The variable of the API key: a configuration for workers contains no secret."""


def make_config(upstream: Simulator, engine: str, **tables: Any) -> dict[str, Any]:
    """Return a configuration for *engine*, without a cache that workers share. Its key is in the variable `KEY`."""
    return {
        "llm": {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "openai": {"base_url": upstream.base_url, "api_key": f"env:{KEY}"},
        },
        "cache": {"provider": "memory"},
        "retry": {"attempts": 1},
        "batch": {"engine": engine},
        **tables,
    }


def find_children(pid: int | str = "self") -> list[int]:
    """Return the ids of the child processes."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


class RunsTwice:
    """Carries every chunk to two workers, as a scheduler does that has lost sight of one."""

    def __init__(self, engine: Any) -> None:
        self.inner = engine
        self.futures: list[Future[bytes]] = []

    def count_slots(self) -> int:
        slots: int = self.inner.count_slots()
        return slots

    def submit(self, function: Any, data: bytes) -> Future[bytes]:
        first, second = self.inner.submit(function, data), self.inner.submit(function, data)
        self.futures += [first, second]
        return cast("Future[bytes]", second)

    def close(self) -> None:
        self.inner.close()


class CountsSlowly:
    """Counts its slots as slowly as an engine that starts a cluster, and notes a call that comes before the first count."""

    def __init__(self, engine: Any) -> None:
        self.inner = engine
        self.was_early = False
        self._is_counted = False
        self._is_called = threading.Event()

    def count_slots(self) -> int:
        if not self._is_counted:
            self.was_early = self._is_called.wait(0.5)
            self._is_counted = True
        slots: int = self.inner.count_slots()
        return slots

    def submit(self, function: Any, data: bytes) -> Future[bytes]:
        self._is_called.set()
        return cast("Future[bytes]", self.inner.submit(function, data))

    def close(self) -> None:
        self.inner.close()
