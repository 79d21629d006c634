"""The table `[openai_bill]`: how `llmcore usage reconcile` reads OpenAI's bill. Requests never use it."""

from __future__ import annotations

from typing import Final

from llmcore.hookspecs import Options
from llmcore.types import Secret

__all__ = ["KEY_VARIABLE", "TABLE", "OpenAIBillOptions"]

TABLE: Final = "openai_bill"
KEY_VARIABLE: Final = "OPENAI_ADMIN_KEY"
"""The variable that the vendor's SDK reads too."""


class OpenAIBillOptions(Options, frozen=True, kw_only=True):
    """The table `[openai_bill]`."""

    admin_key: Secret | None = None
    """A reference such as "env:OPENAI_ADMIN_KEY", which is the default."""
    base_url: str | None = None
    """The address of the reports, with `/v1`. Default: OpenAI's own address."""
    api_key_ids: tuple[str, ...] = ()
    """The ids of the API keys whose calls are in the ledger, such as "key_abc". Default: all."""
    project_ids: tuple[str, ...] = ()
    """The ids of the projects whose calls are in the ledger. Default: all."""
