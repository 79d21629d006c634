"""The access log: one JSON object for each request, without content and keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, TextIO

from llmcore_gateway.http_messages import encode

__all__ = ["AccessHandler", "log_access"]

_DELAY_S: Final = 0.1
_log: Final = logging.getLogger("llmcore_gateway.access")


def log_access(record: Mapping[str, Any]) -> None:
    """Log *record* to `llmcore_gateway.access`."""
    if _log.isEnabledFor(logging.INFO):
        text = encode(record).decode()
        # Logger.info would search the stack for its caller, which takes as long as the rest of this function.
        _log.handle(logging.LogRecord(_log.name, logging.INFO, __file__, 0, text, None, None))


class AccessHandler(logging.Handler):
    """Writes the lines of a tenth of a second together, because separate writes would double the cost of the log."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Buffer the line and schedule a write. Without an event loop, write it now."""
        self._lines.append(record.getMessage())
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(_DELAY_S, self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write the lines. Python also calls this method at exit."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("\n".join([*lines, ""]))
                self._stream.flush()
        except (OSError, ValueError):  # a closed log must not stop the server
            pass
        finally:
            self.release()
