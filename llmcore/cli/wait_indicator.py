"""Show on a terminal how long a call has been waiting, and its retries."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self, TextIO, TypeVar

from llmcore.cli.show import Paint, fit, get_terminal_width
from llmcore.threads import start_thread

__all__ = ["WaitIndicator"]

T = TypeVar("T")

_FIRST_S: Final = 0.5
"""Seconds after which the line is shown."""
_TICK_S: Final = 0.25
"""Seconds between two updates of the line."""
_RETRIES: Final = "llmcore.calls.attempts"
"""The logger of the module that retries."""


class WaitIndicator(logging.Handler):
    """A line on stderr during the `with` block: `waiting for openai:tiny, 3 s`. `stop` erases it."""

    def __init__(self, name: str, *, no_color: bool, stream: TextIO | None = None) -> None:
        super().__init__(logging.INFO)
        self._name = name
        self._to = stream or sys.stderr
        self._paint = Paint.for_stream(self._to, no_color=no_color)
        self._shown = 0
        self._retry = ""
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the thread that draws the line."""
        if self._to.isatty():
            log = logging.getLogger(_RETRIES)
            log.setLevel(logging.INFO)
            log.addHandler(self)
            log.propagate = False
            thread = threading.Thread(target=self._run, name="llmcore-waiting", daemon=True)
            self._thread = thread if start_thread(thread) else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Call `stop`."""
        self.stop()

    def stop_at_first(self, pieces: Iterable[T]) -> Iterator[T]:
        """Yield *pieces*; hide the waiting line when the first piece arrives."""
        with self:
            for piece in pieces:
                self.stop()
                yield piece

    def stop(self) -> None:
        """Erase the line, before the answer is printed."""
        if self._ended.is_set():
            return
        self._ended.set()
        logging.getLogger(_RETRIES).removeHandler(self)
        if self._thread is not None:
            self._thread.join()

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the log message of a retry; see `logging.Handler.emit`."""
        self._retry = record.getMessage()

    def _run(self) -> None:
        if self._ended.wait(_FIRST_S):
            return
        while not self._ended.wait(_TICK_S):
            self._show(
                f"{self._retry or f'waiting for {self._name}'}, {time.monotonic() - self._began:.0f} s"
            )
        self._clear()

    def _show(self, text: str) -> None:
        line = fit(text, (get_terminal_width(self._to) or 80) - 1)
        self._to.write("\r" + self._paint("dim", line.ljust(self._shown)))
        self._to.flush()
        self._shown = max(self._shown, len(line))

    def _clear(self) -> None:
        if self._shown:
            self._to.write("\r" + " " * self._shown + "\r")
            self._to.flush()
