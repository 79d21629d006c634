"""Show the progress of a batch on stderr: a bar on a terminal, a line now and then on other outputs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from llmcore.cli.show import format_cost, note
from llmcore.llm.batch.items import BatchItem

__all__ = ["Progress"]

_BAR_S: Final = 0.2
"""Seconds between two updates of the bar."""
_LINE_S: Final = 10.0
"""Seconds between two lines on an output that is not a terminal."""
_BAR: Final = "{percentage:3.0f}% |{bar}| {n:,}/{total:,}{postfix}"
_OPEN_END: Final = "{n:,} done{postfix}"
"""The form of the bar if the number of items is unknown."""


class Progress:
    """Counts finished items and shows rate, cost, the share of the cache, failures, and what is left.

    Args:
        total: The number of items; None if it is unknown.
        shows: False for a command that has nothing to show.
    """

    def __init__(self, total: int | None, *, shows: bool = True) -> None:
        self._total = total
        self._began = self._shown_at = time.monotonic()
        self._done = self._failed = self._cached = 0
        self._cost: Decimal = Decimal(0)
        self._bar: Any = _make_bar(total) if shows and sys.stderr.isatty() else None
        self._show(self._began)

    def count(self, item: BatchItem) -> None:
        """Count a finished item, and show the progress if it is time."""
        now = time.monotonic()
        if not self._done:  # a vendor's queue may take hours before the first
            self._began = self._shown_at = now
        self._done += 1
        if item.error is not None:
            self._failed += 1
        elif item.reply is not None:
            self._cached += item.reply.cached
            self._cost += item.reply.cost or 0
        if now - self._shown_at >= (_LINE_S if self._bar is None else _BAR_S):
            self._shown_at = now
            self._show(now)

    def note(self, text: str) -> None:
        """Print *text* above the bar. Another thread may call it."""
        if self._bar is None:
            note(text)
        else:
            with self._bar.get_lock():
                self._bar.clear(nolock=True)
                note(text)
                self._bar.refresh(nolock=True)

    def close(self) -> None:
        """Erase the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, now: float) -> None:
        facts = self._describe(now - self._began)
        text = ", ".join(f"{value} {name}" if name else value for name, value in facts.items())
        if self._bar is not None:
            self._bar.n = self._done
            self._bar.set_postfix_str(text)
        elif self._done:
            of = "" if self._total is None else f" of {self._total:,}"
            note(f"{self._done:,}{of} done, {text}")

    def _describe(self, seconds: float) -> Mapping[str, str]:
        """Return the facts: their values by the words that follow them."""
        rate = self._done / seconds if seconds > 0 else 0.0
        facts = {
            "": f"{rate:,.1f}/s",
            "so far": format_cost(self._cost),
            "cached": f"{self._cached / max(self._done, 1):.0%}",
            "failed": f"{self._failed:,}",
        }
        if self._total is not None and self._done:
            left = max(self._total - self._done, 0)
            cost = format_cost(self._cost / self._done * left)
            facts["left"] = f"about {cost} and {_format_left(left / max(rate, 1e-9))}"
        return facts


def _format_left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _make_bar(total: int | None) -> Any:
    from importlib import import_module

    tqdm: Any = import_module("tqdm").tqdm
    tqdm.monitor_interval = 0  # no thread
    return tqdm(
        total=total,
        file=sys.stderr,
        bar_format=_OPEN_END if total is None else _BAR,
        dynamic_ncols=True,
        leave=False,
        mininterval=0,
        ascii=None,
    )
