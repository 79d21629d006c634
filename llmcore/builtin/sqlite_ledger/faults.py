"""Translate errors of SQLite and of the file to the contract's errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import apsw

from llmcore.builtin.sqlite_ledger.schema import NewerLedger
from llmcore.errors import LedgerUnavailable
from llmcore.support.errors import raise_unchained

__all__ = ["FAULTS", "translate", "translate_faults"]

FAULTS: Final = (apsw.Error, OSError, NewerLedger)
"""The exceptions of an unusable file."""


def translate(error: Exception) -> LedgerUnavailable:
    """Return the contract's error for *error*, with the reason in words."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, apsw.BusyError):
        return LedgerUnavailable(f"another process holds the write lock ({reason})", busy=True)
    return LedgerUnavailable(reason)


@contextlib.contextmanager
def translate_faults() -> Iterator[None]:
    """Translate the faults that the block raises."""
    try:
        yield
    except FAULTS as error:
        raise_unchained(translate(error))
