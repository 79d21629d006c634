"""Register the LLM provider and the voice `openai`, and the table `[openai_bill]`. Their modules are imported at first use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from llmcore.hookspecs import BillSource, Provider, Table, hookimpl
from llmcore_openai_optimized.account import OpenAIOptions, get_identity
from llmcore_openai_optimized.options import BILL_TABLE, OpenAIBillOptions, SpeechOptions

if TYPE_CHECKING:
    from llmcore_openai_optimized.bill import OpenAIBillReader
    from llmcore_openai_optimized.offline import Offline
    from llmcore_openai_optimized.provider import OpenAIProvider
    from llmcore_openai_optimized.speech import OpenAIVoice
    from llmcore_openai_optimized.speech_offline import SpeechOffline

__all__ = [
    "LLMCORE_API",
    "PARAMETERS",
    "OpenAIOptions",
    "SpeechOptions",
    "create",
    "create_bill",
    "identity",
    "llmcore_llm_providers",
    "llmcore_tables",
    "llmcore_voice_providers",
    "offline",
]

LLMCORE_API: Final = 1

PARAMETERS: Final = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
        "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n",
        "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options",
        "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed",
        "service_tier", "stop", "store", "stream_options", "temperature", "tool_choice", "tools",
        "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
    }
)  # fmt: skip
"""All parameters of Chat Completions except model, messages and stream."""


def create(options: OpenAIOptions) -> OpenAIProvider:
    """Return the provider.

    Raises:
        ConfigError: The key is missing, or the options contradict each other.
    """
    from llmcore_openai_optimized.provider import OpenAIProvider

    return OpenAIProvider(options)


def offline(options: OpenAIOptions) -> Offline:
    """Return the offline abilities: token counts, prices, shutdown dates."""
    from llmcore_openai_optimized.offline import Offline

    return Offline(options.pricing_tier, azure=bool(options.azure_endpoint or options.api_version))


def identity(options: OpenAIOptions) -> Mapping[str, str]:
    """Return address and account of *options*. No key is needed, so cached answers work without a key."""
    return get_identity(options)


def known_models(table: Mapping[str, Any]) -> Iterable[str]:
    """Return OpenAI's models if *table* uses OpenAI's own address; see `known_models.known_models`."""
    from llmcore_openai_optimized.known_models import known_models

    return known_models(table)


def create_bill(options: OpenAIBillOptions) -> OpenAIBillReader:
    """Return the reader of OpenAI's cost and usage reports."""
    from llmcore_openai_optimized.bill import OpenAIBillReader

    return OpenAIBillReader(options)


_BILL: Final = Table(name=BILL_TABLE, options=OpenAIBillOptions)


@hookimpl
def llmcore_tables() -> Iterable[Table]:
    """Declare `[openai_bill]`."""
    yield _BILL


@hookimpl
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer `openai`."""
    yield Provider(
        name="openai",
        create=create,
        options=OpenAIOptions,
        parameters=PARAMETERS | {"extra_body"},
        apis=frozenset({"chat", "responses"}),
        default_model=None,
        offline=offline,
        identity=identity,
        known_models=known_models,
        bill=BillSource(table=_BILL, create=create_bill),
    )


def create_voice(options: SpeechOptions) -> OpenAIVoice:
    """Return the voice; see `create`."""
    from llmcore_openai_optimized.speech import OpenAIVoice

    return OpenAIVoice(options)


def offline_voice(options: SpeechOptions) -> SpeechOffline:
    """Return the offline abilities of the voice; no key is needed."""
    from llmcore_openai_optimized.speech_offline import SpeechOffline

    return SpeechOffline(options)


@hookimpl
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer `openai`."""
    yield Provider(
        name="openai",
        create=create_voice,
        options=SpeechOptions,
        offline=offline_voice,
        known_models=known_models,
    )
