"""The options of all providers of this plugin: the tables `[llm.ollama]`, `[llm.groq]` and so on."""

from __future__ import annotations

from typing import Any

import msgspec

from llmcore.hookspecs import Options
from llmcore.types import Secret

__all__ = ["CompatibleOptions"]


class CompatibleOptions(Options, frozen=True, kw_only=True):
    """The table of one provider, such as `[llm.ollama]`."""

    api_key: Secret | None = None
    """A reference such as "env:GROQ_API_KEY". Default: the variable of the vendor."""
    base_url: str | None = None
    """The address of the server.

    A URL without a path gets the protocol's path. Default: the vendor's address.
    """
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Additional headers of every request."""
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    """Parameters of the server, sent with every chat: top_k, keep_alive, ..."""

    def __repr__(self) -> str:
        """Show all options without values that may contain keys."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__}
        for name in ("headers", "extra_body"):
            shown[name] = dict.fromkeys(shown[name], "…")
        shown["base_url"] = self.base_url and self.base_url.partition("?")[0]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
