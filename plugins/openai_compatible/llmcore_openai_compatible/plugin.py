"""Register one language model provider per server. Creating a provider imports the HTTP client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from llmcore.hookspecs import Provider, hookimpl
from llmcore_openai_compatible.options import CompatibleOptions
from llmcore_openai_compatible.servers import PARAMETERS, SERVERS, Server

if TYPE_CHECKING:
    from llmcore_openai_compatible.offline import Offline
    from llmcore_openai_compatible.provider import CompatibleProvider

__all__ = ["LLMCORE_API", "CompatibleOptions", "llmcore_llm_providers"]

LLMCORE_API: Final = 1

_TAG: Final = re.compile(
    r"latest|cloud|(?:\d+x)?e?\d+(?:\.\d+)?[bm](?:-.*)?|i?q\d.*|v?\d+(?:\.\d+)*", re.IGNORECASE
)
"""Matches the tags in Ollama's library, such as 7b, 8x7b, 1.5b-instruct-q4_K_M, e4b and latest."""


def _make_provider(server: Server) -> Provider:
    def create(options: CompatibleOptions) -> CompatibleProvider:
        """Return the provider.

        Raises:
            ConfigError: The key is missing, or an option cannot be used.
        """
        from llmcore_openai_compatible.provider import CompatibleProvider

        return CompatibleProvider(server, options)

    def offline(options: CompatibleOptions) -> Offline:
        """Return the object that counts tokens and computes bounds and prices without a key."""
        from llmcore_openai_compatible.address import make_account
        from llmcore_openai_compatible.offline import Offline, is_free

        return Offline(server, is_free=is_free(server, make_account(server, options).base_url))

    def identity(options: CompatibleOptions) -> Mapping[str, str]:
        """Return the settings that can change an answer: the address, the account and the headers."""
        from llmcore_openai_compatible.address import make_account
        from llmcore_openai_optimized.account import make_identity

        return make_identity(make_account(server, options), options.headers)

    return Provider(
        name=server.name,
        create=create,
        options=CompatibleOptions,
        parameters=(PARAMETERS - server.lacks) | {"extra_body"},
        default_model="default" if server.local else None,
        offline=offline,
        identity=identity,
        owns_model=_has_tag if server.name == "ollama" else None,
    )


def _has_tag(name: str) -> bool:
    """Return whether *name* ends with a tag of Ollama's library, as "llama3.2:1b" does."""
    return _TAG.fullmatch(name.rpartition(":")[2]) is not None


@hookimpl
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer one provider for each server."""
    return map(_make_provider, SERVERS.values())
