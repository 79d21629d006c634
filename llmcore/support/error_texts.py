"""One-line explanations of the errors in the ledger."""

from __future__ import annotations

from typing import Final

from llmcore.error_codes import CODES

__all__ = ["summarize_error"]

_CANCELLED: Final = "the caller cancelled it"


def summarize_error(error: str) -> str:
    """Return the meaning of an `error` of the ledger, such as "LC402 RateLimited"; an empty text if *error* is unknown."""
    if error == "cancelled":
        return _CANCELLED
    found = CODES.get(error.partition(" ")[0])
    return "" if found is None else found.summary
