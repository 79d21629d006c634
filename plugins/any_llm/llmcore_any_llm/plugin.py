"""Offer the language model `any_llm`; any-llm is imported when the provider is created."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from llmcore.hookspecs import Provider, hookimpl
from llmcore_any_llm.options import AnyLLMOptions, make_identity
from llmcore_any_llm.vendors import VENDORS

if TYPE_CHECKING:
    from llmcore_any_llm.offline import Offline
    from llmcore_any_llm.provider import AnyLLMProvider

__all__ = ["LLMCORE_API", "PARAMETERS", "AnyLLMOptions", "create", "llmcore_llm_providers", "offline"]

LLMCORE_API: Final = 1

PARAMETERS: Final = frozenset(
    {
        "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "n", "parallel_tool_calls",
        "presence_penalty", "prompt_cache_key", "reasoning_effort", "response_format", "seed", "service_tier", "stop",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "extra_body",
    }
)  # fmt: skip
"""The parameters of any-llm's `acompletion`."""


def create(options: AnyLLMOptions) -> AnyLLMProvider:
    """Return the provider."""
    from llmcore_any_llm.provider import AnyLLMProvider

    return AnyLLMProvider(options)


def offline(options: AnyLLMOptions) -> Offline:
    """Return the object that counts tokens and computes bounds and prices without any-llm, a key or the network."""
    from llmcore_any_llm.offline import Offline

    return Offline(options)


def _has_vendor(name: str) -> bool:
    """Return whether *name*, such as "mistral:mistral-small-latest", begins with a vendor of any-llm."""
    return name.partition(":")[0] in VENDORS


@hookimpl
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer `any_llm`."""
    yield Provider(
        name="any_llm",
        create=create,
        options=AnyLLMOptions,
        parameters=PARAMETERS,
        default_model=None,
        offline=offline,
        identity=make_identity,
        owns_model=_has_vendor,
    )
