"""Make loggers below the logger `llmcore`. They print nothing unless the application configures logging.

The logger `llmcore` has a NullHandler for that purpose. `logging` is imported at the first message, because importing it
costs more than a cached answer.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

__all__ = ["configure_at_first_message", "configure_pending", "get_logger"]

_pending: list[Callable[[Logger], object]] = []


def configure_at_first_message(configure: Callable[[Logger], object]) -> None:
    """Call *configure* with the logger `llmcore` before the first message.

    If `logging` is already loaded, call *configure* now.
    """
    _pending.append(configure)
    if "logging" in sys.modules:
        configure_pending()


def configure_pending() -> None:
    """Configure the logger `llmcore` now. Call this before foreign code, which may log without `get_logger()`."""
    if _pending:
        get_logger("llmcore")


def get_logger(name: str) -> Logger:
    """Return the logger called *name*."""
    import logging

    root = logging.getLogger("llmcore")
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    while _pending:
        _pending.pop(0)(root)
    return logging.getLogger(name)
