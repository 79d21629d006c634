"""Tells on a terminal how far a large transfer has come; to anything else nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from llmcore.cli.show import bytes_text

__all__ = ["watched"]

LARGE = 8_000_000
"""Bytes of which nobody has to be told."""
_PAUSE_S = 0.1


def watched(pieces: Iterable[bytes], total: int | None, stream: TextIO | None = None) -> Iterator[bytes]:
    """Pass the *pieces* on, and tell on *stream*, stderr by default, how many of *total* bytes have gone through."""
    to = stream or sys.stderr
    shown = to.isatty() and (total is None or total >= LARGE)
    done, told, width = 0, 0.0, 0
    try:
        for piece in pieces:
            yield piece
            done += len(piece)
            now = time.monotonic()
            if shown and done >= LARGE and now - told >= _PAUSE_S:
                line = _line(done, total)
                told, width = now, max(width, len(line))
                to.write(f"\r{line:<{width}}")
                to.flush()
    finally:
        if width:
            to.write(f"\r{'':<{width}}\r")
            to.flush()


def _line(done: int, total: int | None) -> str:
    if not total:
        return bytes_text(done)
    return f"{bytes_text(done)} of {bytes_text(total)}, {done * 100 // total} %"
