"""Offer the language model `anthropic`. The SDK is imported when a provider is created."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from llmcore.hookspecs import BillSource, Provider, Table, hookimpl
from llmcore_anthropic.options import (
    BILL_TABLE,
    OFFICIAL,
    AnthropicBillOptions,
    AnthropicOptions,
    make_identity,
)

if TYPE_CHECKING:
    from llmcore_anthropic.bill import AnthropicBillReader
    from llmcore_anthropic.offline import Offline
    from llmcore_anthropic.provider import AnthropicProvider

__all__ = [
    "LLMCORE_API",
    "PARAMETERS",
    "AnthropicOptions",
    "create",
    "create_bill",
    "llmcore_llm_providers",
    "llmcore_tables",
    "offline",
]

LLMCORE_API: Final = 1

PARAMETERS: Final = frozenset(
    {
        # parameters of Chat Completions, which are translated
        "max_completion_tokens", "max_tokens", "parallel_tool_calls", "reasoning_effort", "response_format", "stop",
        "temperature", "tool_choice", "tools", "top_p", "user",
        # parameters of the Messages API, which are sent unchanged
        "cache_control", "container", "inference_geo", "metadata", "output_config", "service_tier", "speed",
        "stop_sequences", "thinking", "top_k",
        "extra_body",
    }
)  # fmt: skip
"""The parameters that a call may set. The host rejects all other parameters by name."""


def create(options: AnthropicOptions) -> AnthropicProvider:
    """Return the provider.

    Raises:
        ConfigError: The key is missing, or an option is invalid.
    """
    from llmcore_anthropic.provider import AnthropicProvider

    return AnthropicProvider(options)


def offline(options: AnthropicOptions) -> Offline:
    """Return the object that counts tokens and computes bounds and prices without a key."""
    from llmcore_anthropic.offline import Offline

    return Offline(options)


def known_models(table: Mapping[str, Any]) -> Iterable[str]:
    """Return the models at the vendor's own address."""
    import os
    from urllib.parse import urlsplit

    from llmcore_anthropic.models import MODELS

    address = table.get("base_url") or os.environ.get("ANTHROPIC_BASE_URL") or OFFICIAL
    try:
        host = urlsplit(str(address)).hostname
    except ValueError:  # the provider raises the error
        return ()
    return MODELS if host == "api.anthropic.com" else ()


def create_bill(options: AnthropicBillOptions) -> AnthropicBillReader:
    """Return the reader of Anthropic's cost and usage reports."""
    from llmcore_anthropic.bill import AnthropicBillReader

    return AnthropicBillReader(options)


_BILL: Final = Table(name=BILL_TABLE, options=AnthropicBillOptions)


@hookimpl
def llmcore_tables() -> Iterable[Table]:
    """Declare `[anthropic_bill]`."""
    yield _BILL


@hookimpl
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer `anthropic`."""
    yield Provider(
        name="anthropic",
        create=create,
        options=AnthropicOptions,
        parameters=PARAMETERS,
        apis=frozenset({"chat", "messages"}),
        default_model=None,
        offline=offline,
        identity=make_identity,
        known_models=known_models,
        bill=BillSource(table=_BILL, create=create_bill),
    )
