"""Offers `openai`, a language model and a voice; the SDK is imported when one is first used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from llmcore.hookspecs import Provider, hookimpl
from llmcore_openai_optimized.account import OpenAIOptions, identity_of
from llmcore_openai_optimized.speech_options import SpeechOptions

if TYPE_CHECKING:
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
    "identity",
    "llmcore_llm_providers",
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
"""Every parameter of Chat Completions besides model, messages and stream."""


def create(options: OpenAIOptions) -> OpenAIProvider:
    """Return the provider.

    Raises:
        ConfigError: There is no key, or the options contradict one another.
    """
    from llmcore_openai_optimized.provider import OpenAIProvider

    return OpenAIProvider(options)


def offline(options: OpenAIOptions) -> Offline:
    """Return what counts and prices, and knows how long models live."""
    from llmcore_openai_optimized.offline import Offline

    return Offline(options.pricing_tier, azure=bool(options.azure_endpoint or options.api_version))


def identity(options: OpenAIOptions) -> Mapping[str, str]:
    """Return the address and account behind *options*; needs no key, so that cached answers come without one."""
    return identity_of(options)


@hookimpl
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer `openai`."""
    yield Provider(
        name="openai",
        create=create,
        options=OpenAIOptions,
        parameters=PARAMETERS,
        default_model=None,
        offline=offline,
        identity=identity,
    )


def create_voice(options: SpeechOptions) -> OpenAIVoice:
    """Return the voice; see `create`."""
    from llmcore_openai_optimized.speech import OpenAIVoice

    return OpenAIVoice(options)


def offline_voice(options: SpeechOptions) -> SpeechOffline:
    """Return what knows a speech beforehand; needs no key."""
    from llmcore_openai_optimized.speech_offline import SpeechOffline

    return SpeechOffline(options)


@hookimpl
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer `openai`."""
    yield Provider(name="openai", create=create_voice, options=SpeechOptions, offline=offline_voice)
