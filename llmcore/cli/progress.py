"""Show the progress of a large transfer on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from llmcore.cli.show import format_bytes

__all__ = ["show_progress"]

_LARGE = 8_000_000
"""The size in bytes above which progress is shown."""
_PAUSE_S = 0.1
"""Minimum number of seconds between two updates of the line."""


def show_progress(
    pieces: Iterable[bytes], total: int | None, stream: TextIO | None = None
) -> Iterator[bytes]:
    """Yield the *pieces*, and show on *stream*, stderr by default, how many of *total* bytes have passed."""
    to = stream or sys.stderr
    shown = to.isatty() and (total is None or total >= _LARGE)
    done, shown_at, width = 0, 0.0, 0
    try:
        for piece in pieces:
            yield piece
            done += len(piece)
            now = time.monotonic()
            if shown and done >= _LARGE and now - shown_at >= _PAUSE_S:
                line = _render_line(done, total)
                shown_at, width = now, max(width, len(line))
                to.write(f"\r{line:<{width}}")
                to.flush()
    finally:
        if width:
            to.write(f"\r{'':<{width}}\r")
            to.flush()


def _render_line(done: int, total: int | None) -> str:
    if not total:
        return format_bytes(done)
    return f"{format_bytes(done)} of {format_bytes(total)}, {done * 100 // total} %"
