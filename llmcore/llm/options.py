"""The options of a chat, typed for type checkers and editors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from llmcore.calls.arguments import CacheUse
from llmcore.types import Message

__all__ = [
    "Api",
    "CacheUse",
    "ChatOptions",
    "EmbedOptions",
    "ModelOptions",
    "Prompt",
    "ResponseFormat",
    "SendOptions",
    "T",
    "Texts",
]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")  # type variables with defaults need Python 3.13

Api = Literal["chat", "responses", "messages", "embeddings"]
"""The format of a request body: Chat Completions, Responses, Anthropic's Messages, or Embeddings."""
Prompt = str | Sequence[Message] | None
Texts = str | Sequence[str]
"""One text, or a list of texts."""
ResponseFormat: TypeAlias = type[T] | UnionType | Mapping[str, Any]
"""The type of the parsed answer, a union of such types, or a `response_format` in OpenAI's format.
"""


class ModelOptions(TypedDict, total=False):
    """Parameters of Chat Completions, sent unchanged. A vendor's own parameters go into `extra_body`.

    Source: https://platform.openai.com/docs/api-reference/chat/create
    """

    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    n: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    functions: Sequence[Mapping[str, Any]] | None
    function_call: str | Mapping[str, Any] | None
    reasoning_effort: str | None
    verbosity: str | None
    modalities: Sequence[str] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    moderation: Mapping[str, Any] | None
    web_search_options: Mapping[str, Any] | None
    service_tier: str | None
    store: bool | None
    metadata: Mapping[str, str] | None
    prompt_cache_key: str | None
    prompt_cache_options: Mapping[str, Any] | None
    prompt_cache_retention: str | None
    safety_identifier: str | None
    stream_options: Mapping[str, Any] | None


class SendOptions(TypedDict, total=False):
    """Arguments of a call that are not parameters of the model; see `LLMClient.chat`."""

    model: str | None
    cache: CacheUse
    user: str | None
    tags: str | Sequence[str]
    timeout: float | str | timedelta | None
    cache_ttl: float | str | timedelta | None
    cache_namespace: str | None
    cache_refresh: float | None


class ChatOptions(ModelOptions, SendOptions, total=False):
    """All arguments of `chat` and `stream` except the prompt and `response_format`; see `LLMClient.chat`."""

    messages: Sequence[Message] | None
    system: str | None
    extra_body: Mapping[str, Any] | None
    repair: int


class EmbedOptions(TypedDict, total=False):
    """The arguments of `embed` other than texts, model and dimensions; see `LLMClient.embed`."""

    cache: CacheUse
    user: str | None
    tags: str | Sequence[str]
    timeout: float | str | timedelta | None
    cache_ttl: float | str | timedelta | None
    cache_namespace: str | None
    extra_body: Mapping[str, Any] | None
