"""Cores and rate limits on a Redis that a test starts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llmcore
from llmcore.calls.drivers import run
from llmcore.calls.shared_backend import make_shared_limits
from llmcore.calls.shared_limits import SharedLimits

PATIENCE = "10m"
ECHO = ("echo", "echo")


def make_config(url: str, **limits: Any) -> dict[str, Any]:
    return {
        "llm": {"provider": "echo"},
        "cache": {"provider": "memory"},
        "ledger": {"enabled": False},
        "limits": {"shared": {"url": url, "limit_timeout": PATIENCE, "lease": "10m"}, **limits},
    }


@contextlib.contextmanager
def open_limits(url: str, **limits: Any) -> Iterator[SharedLimits]:
    core = llmcore.load(make_config(url, **limits))
    made = make_shared_limits(core.settings, core.catalogue)
    try:
        yield made
    finally:
        run(made.shut_down())


def patient() -> float:
    return 60.0


def chat_together(cores: list[llmcore.Core], calls: int) -> float:
    """Make *calls* calls with each Core; return the seconds."""
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        futures: list[Any] = [
            pool.submit(core.llm.chat, f"call {number}", cache=False)
            for number in range(calls)
            for core in cores
        ]
        for future in futures:
            assert future.result().text
    return time.monotonic() - began
