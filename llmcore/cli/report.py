"""Tells a person, or a program, what went wrong; and which exit code says so."""

from __future__ import annotations

import os
import sys
from typing import Any

from llmcore.cli.misuse import UsageError
from llmcore.cli.show import Paint, as_json
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

__all__ = ["exit_code", "parts_of", "report", "shown_error"]

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
"""What an application hands over as an argument, a person at a shell gives as an option."""
_KEY_CODES = {"LC201", "LC202", "LC204"}
"""Faults of the configuration that are a key's."""
_UNSAYABLE = {"LC904", "LC905", "LC906"}
"""Faults of what was to be said, found before anything was sent."""


def report(error: Exception, *, json: bool, no_color: bool) -> int:
    """Write *error* to stderr and return its exit code."""
    if os.environ.get("LLMCORE_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    told = error if isinstance(error, LLMCoreError) else _internal(error)
    if told.where == "argument" and told.code in _OPTIONS:
        told.where = _OPTIONS[told.code]
    if json:
        print(_json(told), file=sys.stderr)
    else:
        print(shown_error(told, Paint.of(sys.stderr, no_color=no_color)), file=sys.stderr)
    return exit_code(told)


def exit_code(error: LLMCoreError) -> int:
    """Return the exit code of *error*."""
    if isinstance(error, ConfigError):
        codes = {fault.code for fault in error.faults or (error,)}
        return 4 if codes <= _KEY_CODES else 3
    if error.code in _UNSAYABLE:
        return 2
    if isinstance(error, BadRequest):
        return 1 if error.status else 2
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def shown_error(error: LLMCoreError, paint: Paint) -> str:
    """Return the text of *error* with its parts coloured."""
    return "\n".join(_painted(line, paint) for line in error.render().splitlines())


def _painted(line: str, paint: Paint) -> str:
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


def _json(error: LLMCoreError) -> str:
    parts = parts_of(error)
    faults = error.faults if isinstance(error, ConfigError) else ()
    if faults:
        parts["faults"] = [parts_of(fault) for fault in faults]
    return as_json(error=parts)


def parts_of(error: LLMCoreError) -> dict[str, Any]:
    """Return the parts of *error* under the names that `--json` prints."""
    return {
        "code": error.code,
        "kind": type(error).__name__,
        "message": error.message,
        "where": error.where,
        "expected": error.expected,
        "suggestion": error.suggestion,
        "fix": error.fix,
        "notes": list(error.notes),
        "exit_code": exit_code(error),
    }


def _internal(error: Exception) -> LLMCoreError:
    from llmcore.config.mask import mask_text

    text = mask_text(" ".join(str(error).split())[:500])
    if isinstance(error, OSError) and error.strerror:
        return LLMCoreError(f"{error.strerror}: {error.filename}" if error.filename else text)
    return LLMCoreError(
        f"llmcore itself failed: {type(error).__name__}: {text}",
        notes=["this is a fault of llmcore, or of a plugin's command; LLMCORE_TRACEBACK=1 shows where"],
    )
