"""Loggers, all below `llmcore`, which has a NullHandler: nothing is printed unless the application configures logging.

`logging` is imported at the first message, because importing it costs more than a cached answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["logger"]


def logger(name: str) -> Logger:
    """Return the logger called *name*."""
    import logging

    root = logging.getLogger("llmcore")
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    return logging.getLogger(name)
