"""Show the progress of a batch on stderr."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from llmcore.cli.show import format_cost, format_seconds, note
from llmcore.llm.batch.items import BatchItem

__all__ = ["Progress"]

_PAUSE_S: Final = 0.5
"""Seconds between two updates of the progress on a terminal. On other outputs, twenty times as long."""


class Progress:
    """Shows the progress: on a terminal, one line that changes; on other outputs, a new line now and then."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._began = self._shown_at = time.monotonic()
        self._done = self._failed = self._cached = 0
        self._cost: Any = 0

    def count(self, item: BatchItem) -> None:
        """Count a finished item, and show the progress if the pause is over."""
        self._done += 1
        if item.error is not None:
            self._failed += 1
        elif item.reply is not None:
            self._cached += item.reply.cached
            self._cost += item.reply.cost or 0
        now = time.monotonic()
        if now - self._shown_at >= (_PAUSE_S if self._is_terminal else 20 * _PAUSE_S):
            self._shown_at = now
            self._show(now)

    def close(self) -> None:
        """Erase the line."""
        if self._is_terminal and self._shown_at != self._began:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _show(self, now: float) -> None:
        rate = self._done / max(now - self._began, 1e-9)
        line = (
            f"{self._done:,} done, {rate:,.1f} a second, {format_cost(self._cost)}, "
            f"{self._cached / self._done:.0%} cached, {self._failed:,} failed, {format_seconds(now - self._began)}"
        )
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
        else:
            note(line)
