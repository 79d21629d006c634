"""The state of one server process. All requests share it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from llmcore_gateway.metrics import Metrics

__all__ = ["ServerState"]


class ServerState:
    """The state of a server: readiness, counters, and the calls of disconnected clients."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.phase: Literal["starting", "ready", "draining"] = "ready"
        """`/health/ready` answers 503 unless the server is ready."""
        self.has_seen_keys = False
        """True if a key existed at any time.

        After the first key, every request needs a key, even if the ledger has no keys later.
        """
        self.finishing: set[asyncio.Future[Any]] = set()
        """Running calls of disconnected clients, with `on_disconnect = "finish"`."""

    @property
    def is_idle(self) -> bool:
        """True if no request is in progress."""
        return not self.metrics.in_progress and not self.finishing
