"""Loggers, all below `llmcore`, which says nothing unless an application listens.

`logging` is imported when there is something to say: it costs more than a cached answer.
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
