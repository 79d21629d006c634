"""The states of the items that the workers of an engine share in the ledger; see `llmcore.contracts.LedgerRuns`."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["BUSY", "MINE", "ItemState"]


class ItemState(NamedTuple):
    """The state of one item for the worker that asked for it."""

    state: Literal["mine", "busy", "done"]
    answer: bytes | None = None
    """The stored answer of an item that is done."""


MINE: Final = ItemState("mine")
BUSY: Final = ItemState("busy")
