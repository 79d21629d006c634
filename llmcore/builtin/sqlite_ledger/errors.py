"""Translate errors of SQLite and of the file to the contract's errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import apsw

from llmcore.builtin.sqlite_ledger.schema import NewerLedger
from llmcore.errors import LedgerUnavailable
from llmcore.support.errors import raise_unchained

__all__ = ["FILE_ERRORS", "translate_error", "translate_errors"]

FILE_ERRORS: Final = (apsw.Error, OSError, NewerLedger)
"""The exceptions of an unusable file."""


def translate_error(error: Exception) -> LedgerUnavailable:
    """Return the contract's error for *error*, with the reason in words."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, apsw.BusyError):
        return LedgerUnavailable(f"another process holds the write lock ({reason})", busy=True)
    return LedgerUnavailable(reason)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the faults that the block raises."""
    try:
        yield
    except FILE_ERRORS as error:
        raise_unchained(translate_error(error))
