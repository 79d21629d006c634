"""The contract of a vendor's bill: `llmcore usage reconcile` compares the bill with the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol, runtime_checkable

from llmcore.support.bills import Bill

__all__ = ["BillReader"]


@runtime_checkable
class BillReader(Protocol):
    """Read the usage and cost reports of a vendor, blocking."""

    def fetch(self, since: date, until: date) -> Sequence[bytes]:
        """Return every page of the vendor's reports for the UTC days from *since* up to, but not including, *until*.

        Each page is a JSON document as the server sent it, so that the pages can be saved and read again.

        Raises:
            ConfigError: The admin key is missing.
            ProviderError: As in `LLMProvider.complete`.
        """
        ...

    def parse(self, documents: Sequence[Mapping[str, Any]]) -> Bill:
        """Return the bill in *documents*, which are decoded pages of `fetch` in any order.

        Numbers with a decimal point were decoded as `Decimal`. Use no key and no network.

        Raises:
            BadRequest: A document is not a page of the vendor's reports, or is not grouped as `fetch` requests it.
        """
        ...
