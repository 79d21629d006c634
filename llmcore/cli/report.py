"""Print an error as text or JSON, and choose the exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.show import Paint, note, render_json
from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetError,
    ConfigError,
    LedgerError,
    LLMCoreError,
    PluginError,
    StorageDenied,
    StorageKeyError,
    StorageUnavailable,
    Timeout,
    Unavailable,
)

__all__ = ["get_parts", "render_error", "report"]

_CODES: tuple[tuple[type[LLMCoreError], int], ...] = (
    (UsageError, 2),
    (ConfigError, 3),
    (AuthenticationFailed, 4),
    (BudgetError, 5),
    (LedgerError, 2),
    (PluginError, 6),
    (Timeout, 7),
    (Unavailable, 7),
    (StorageKeyError, 2),
    (StorageDenied, 4),
    (StorageUnavailable, 7),
)
_OPTIONS = {"LC107": "--config", "LC108": "--profile"}
"""Code of a fault in an argument of `load` -> the command-line option for this argument."""
_KEY_CODES = {"LC201", "LC202", "LC204"}
"""The codes of configuration faults that concern an API key."""
_TEXT_CODES = {"LC904", "LC905", "LC906"}
"""The codes of faults in the text to speak, found before a request was sent."""


def report(error: Exception, *, json: bool, no_color: bool) -> int:
    """Write *error* to stderr and return its exit code."""
    if os.environ.get("LLMCORE_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    reported = error if isinstance(error, LLMCoreError) else _make_internal_error(error)
    if reported.where == "argument" and reported.code in _OPTIONS:
        reported.where = _OPTIONS[reported.code]
    if json:
        note(_render_json(reported))
    else:
        note(render_error(reported, Paint.for_stream(sys.stderr, no_color=no_color)))
    return _get_exit_code(reported)


def _get_exit_code(error: LLMCoreError) -> int:
    """Return the exit code of *error*."""
    if isinstance(error, ConfigError):
        codes = {fault.code for fault in error.faults or (error,)}
        return 4 if codes <= _KEY_CODES else 3
    if error.code in _TEXT_CODES:
        return 2
    if isinstance(error, BadRequest):
        return 1 if error.status else 2
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def render_error(error: LLMCoreError, paint: Paint) -> str:
    """Return the text of *error* in colour."""
    return "\n".join(_paint_line(line, paint) for line in error.render().splitlines())


def _paint_line(line: str, paint: Paint) -> str:
    if line.startswith("error["):
        head, _, rest = line.partition("]: ")
        return paint("red", f"{head}]:") + " " + paint("bold", rest)
    if line.startswith(" --> "):
        return paint("cyan", " -->") + line[4:]
    for label in ("expected", "help", "note", "fix"):
        start = f"  = {label}: "
        if line.startswith(start):
            value = line.removeprefix(start)
            return (
                paint("cyan", "  = ")
                + paint("bold", f"{label}:")
                + " "
                + (paint("green", value) if label == "fix" else value)
            )
    return line


def _render_json(error: LLMCoreError) -> str:
    parts = get_parts(error)
    faults = error.faults if isinstance(error, ConfigError) else ()
    if faults:
        parts["faults"] = [get_parts(fault) for fault in faults]
    return render_json(sys.stderr, error=parts)


def get_parts(error: LLMCoreError) -> dict[str, Any]:
    """Return the fields of *error* under the names that `--json` prints."""
    return {
        "code": error.code,
        "kind": type(error).__name__,
        "message": error.message,
        "where": error.where,
        "expected": error.expected,
        "suggestion": error.suggestion,
        "fix": error.fix,
        "notes": list(error.notes),
        "exit_code": _get_exit_code(error),
    }


def _make_internal_error(error: Exception) -> LLMCoreError:
    from llmcore.config.mask import mask_text

    text = mask_text(" ".join(str(error).split())[:500])
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.strerror}: {error.filename}" if error.filename else text
        return LLMCoreError(message, code="LC005", expected="an operating system that allows the operation")
    return LLMCoreError(
        f"llmcore itself failed: {type(error).__name__}: {text}",
        notes=["this is a bug in llmcore or in a plugin; set LLMCORE_TRACEBACK=1 to see the traceback"],
    )
