"""Show the progress of a batch on stderr: a bar on a terminal, or a line every ten seconds on another output."""

from __future__ import annotations

import os
import sys
import time
from decimal import Decimal
from typing import Any, Final

from llmcore.cli.show import format_cost, note
from llmcore.llm.batch.items import BatchItem

__all__ = ["Progress"]

_BAR_S: Final = 0.2
"""Seconds between two updates of the bar."""
_LINE_S: Final = 10.0
"""Seconds between two lines on an output that is not a terminal."""
_NARROWEST: Final = 10
"""Minimum width of the bar, in columns."""
_COLUMNS: Final = 80
"""The width in columns that is assumed for a terminal that does not report its width."""
_BAR: Final = "{percentage:3.0f}% |{bar}| {n:,}/{total:,}{postfix}"
_OPEN_END: Final = "{n:,} done{postfix}"
"""The format of the bar if the number of items is unknown."""


class Progress:
    """Counts finished items and shows rate, cost, the share of cached answers, failures, and the remaining time and cost.

    Args:
        total: The number of items; None if the number is unknown.
        shows: Whether to draw the bar. A dry run has no bar, because it counts no items.
    """

    def __init__(self, total: int | None, *, shows: bool = True) -> None:
        self._total = total
        self._began = self._shown_at = time.monotonic()
        self._done = self._failed = self._cached = 0
        self._cost: Decimal = Decimal(0)
        self._bar: Any = _make_bar(total) if shows and sys.stderr.isatty() else None
        self._show(self._began)

    def count(self, item: BatchItem) -> None:
        """Count a finished item, and show the progress unless it was shown a moment ago."""
        now = time.monotonic()
        if not self._done:  # measure the rate from the first item, for which a vendor's queue may need hours
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
        """Print *text* above the bar. Any thread may call this method."""
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
        if self._bar is not None:
            self._bar.n = self._done
            self._bar.set_postfix_str(_fit(facts, self._measure_room()))
        elif self._done:
            of = "" if self._total is None else f" of {self._total:,}"
            note(f"{self._done:,}{of} done, {', '.join(text for _, text in facts)}")

    def _describe(self, seconds: float) -> list[tuple[int, str]]:
        """Return the facts to show, each with a rank. A narrow terminal lacks the facts with the highest ranks."""
        rate = self._done / seconds if seconds > 0 else 0.0
        facts = [
            (3, f"{rate:,.1f}/s"),
            (1, f"{format_cost(self._cost)} so far"),
            (4 if self._cached else 7, f"{self._cached / max(self._done, 1):.0%} cached"),
            (2 if self._failed else 6, f"{self._failed:,} failed"),
        ]
        if self._total is not None and self._done:
            left = max(self._total - self._done, 0)
            facts.append((5, f"about {format_cost(self._cost / self._done * left)} to come"))
            facts.append((0, f"{_format_left(left / max(rate, 1e-9))} left"))
        return facts

    def _measure_room(self) -> int:
        """Return how many columns of the terminal the facts may take next to the bar."""
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except (OSError, ValueError):
            columns = _COLUMNS
        counts = f"100% || {self._done:,}/{self._total:,}, " if self._total else f"{self._done:,} done, "
        return columns - len(counts) - (_NARROWEST if self._total else 0) - 1


def _fit(facts: list[tuple[int, str]], room: int) -> str:
    """Return the facts in at most *room* characters. Leave out the facts with the highest ranks, but keep at least one."""
    kept = list(facts)
    while len(kept) > 1 and len(", ".join(text for _, text in kept)) > room:
        kept.remove(max(kept))
    return ", ".join(text for _, text in kept)


def _format_left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _make_bar(total: int | None) -> Any:
    from importlib import import_module

    tqdm: Any = import_module("tqdm").tqdm
    tqdm.monitor_interval = 0  # tqdm must not start a thread
    return tqdm(
        total=total,
        file=sys.stderr,
        bar_format=_OPEN_END if total is None else _BAR,
        dynamic_ncols=True,
        leave=False,
        mininterval=0,
        ascii=None,
    )
