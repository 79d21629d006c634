"""Make the errors about one plugin. They name the plugin, its version and the line of its code."""

from __future__ import annotations

from typing import Any

from llmcore.discovery import Claim
from llmcore.errors import PluginBroken
from llmcore.log import get_logger

__all__ = ["find_place", "format_exception", "log_exception", "make_error"]


def make_error(claim: Claim, what: str, **parts: Any) -> PluginBroken:
    """Return the error with the message "plugin `NAME` *what*", such as "plugin `acme 1.0` did not load"."""
    return PluginBroken(f"plugin `{claim.owner}` {what}", **parts)


def log_exception(what: str, exc: BaseException) -> None:
    """Log the full traceback, which the error omits, at level DEBUG."""
    get_logger(__name__).debug(what, exc_info=exc)


def format_exception(exc: BaseException) -> str:
    """Return the class and the text of *exc* on one line."""
    try:
        text = " ".join(str(exc).split())
    except Exception:  # noqa: BLE001 - a foreign exception may fail in its `__str__`
        text = ""
    return f"{type(exc).__name__}: {text[:500]}" if text else type(exc).__name__


def find_place(claim: Claim, exc: BaseException) -> str | None:
    """Return the innermost line of the plugin's package in the traceback of *exc*."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    top, place, step = claim.module.partition(".")[0], None, exc.__traceback__
    while step is not None:
        if str(step.tb_frame.f_globals.get("__name__")).partition(".")[0] == top:
            place = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
        step = step.tb_next
    return place
