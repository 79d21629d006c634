"""Declare the ledger `postgres`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_ledger_postgres.options import PostgresOptions

if TYPE_CHECKING:
    from llmcore_ledger_postgres.provider import PostgresLedger

__all__ = ["LLMCORE_API", "PostgresOptions"]

LLMCORE_API = 1


def create(options: PostgresOptions) -> PostgresLedger:
    """Return the ledger, not yet connected."""
    from llmcore_ledger_postgres.provider import PostgresLedger

    return PostgresLedger(options)


@hookimpl
def llmcore_ledger_providers() -> Iterable[Provider]:
    """Yield the provider `postgres`."""
    yield Provider(name="postgres", options=PostgresOptions, create=create)
