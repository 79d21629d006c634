"""The table `[anthropic_bill]`: how `llmcore usage reconcile` reads Anthropic's bill. Requests never use it."""

from __future__ import annotations

from typing import Final

from llmcore.hookspecs import Options
from llmcore.types import Secret

__all__ = ["KEY_VARIABLE", "TABLE", "AnthropicBillOptions"]

TABLE: Final = "anthropic_bill"
KEY_VARIABLE: Final = "ANTHROPIC_ADMIN_KEY"


class AnthropicBillOptions(Options, frozen=True, kw_only=True):
    """The table `[anthropic_bill]`."""

    admin_key: Secret | None = None
    """A reference such as "env:ANTHROPIC_ADMIN_KEY", which is the default."""
    base_url: str | None = None
    """The server, without `/v1`. Default: Anthropic's own server."""
    api_key_ids: tuple[str, ...] = ()
    """The ids of the API keys whose calls are in the ledger, such as "apikey_01Rj". Default: all."""
    workspace_ids: tuple[str, ...] = ()
    """The ids of the workspaces whose calls are in the ledger. Default: all. The default workspace has the id ""."""
