"""The types that cross every contract: requests, `Reply`, `Delta`, usage, speech. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Required, TypedDict

import msgspec

from llmcore.embedding_types import EmbeddingLimits, EmbeddingRequest, Embeddings
from llmcore.units import Duration, Size, TokenCount
from llmcore.usage_types import CostSource, RateLimits, Usage
from llmcore.voice_types import AudioFormat, Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits

__all__ = [
    "AlertEvent",
    "AudioFormat",
    "CallEvent",
    "CallStart",
    "ChatRequest",
    "Choice",
    "CostSource",
    "Delta",
    "Duration",
    "EmbeddingLimits",
    "EmbeddingRequest",
    "Embeddings",
    "FileInfo",
    "Message",
    "RateLimits",
    "Reply",
    "Secret",
    "Size",
    "Speech",
    "TokenCount",
    "ToolCall",
    "Usage",
    "VoiceInfo",
    "VoiceModel",
    "VoicePage",
    "VoiceTraits",
    "WireEvent",
]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")  # defaults of type variables need Python 3.13


class Secret:
    """A key or password that is not shown in texts and logs; only `reveal` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret. Call it where the secret is sent, and keep no copy."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Secret cannot be pickled or copied")


class Message(TypedDict, total=False):
    """One message of a conversation, in the format of Chat Completions.

    A plain dict: fields that are not named here (images, audio, a vendor's own) are passed on unchanged.
    Source: https://platform.openai.com/docs/api-reference/chat/create
    """

    role: Required[str]
    """system, developer, user, assistant or tool; or one that only some servers know, such as ipython."""
    content: str | Sequence[Mapping[str, Any]] | None
    """A text, or parts such as `{"type": "image_url", ...}`; None with tool calls."""
    name: str
    tool_calls: Sequence[Mapping[str, Any]] | None
    tool_call_id: str
    function_call: Mapping[str, Any] | None
    audio: Mapping[str, Any] | None
    refusal: str | None
    reasoning_content: str | None
    """For servers that need their reasoning back, such as DeepSeek's."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """A function call that the model requests."""

    name: str
    arguments: str
    """JSON text as the model wrote it; it may not be valid."""
    id: str = ""
    type: str = "function"
    index: int = 0
    """Position among the calls of one answer; pieces of a streamed call share it."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One checked request to a language model: the argument of a provider's `complete` and `stream`."""

    model: str
    messages: Sequence[Message]
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The other parameters to send: temperature, tools, ..., and those of `extra_body=`.

    Messages and parameters are plain JSON values, copied: None, bool, int, float, str, list and dict. A number that no float
    represents exactly is a `Decimal`; encode it with all digits (`msgspec.json.Encoder(decimal_format="number")`).
    """
    timeout_s: float | None = None
    """Seconds until the call's deadline."""
    idle_s: float | None = None
    """Seconds without a received byte after which the provider raises `Timeout`."""
    api: str = "chat"
    """The API that the request is written for; see `Provider.apis`. Other than "chat": `parameters` is the body without the model."""

    def body(self) -> dict[str, Any]:
        """Return the request as a body of its API, with its parameters in their order."""
        if self.api != "chat":
            return {"model": self.model, **self.parameters}
        return {"model": self.model, "messages": self.messages, **self.parameters}


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """One of the answers in a `Reply`; more than one if the request asked for them (`n=2`)."""

    text: str = ""
    reasoning: str = ""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None
    """Log probabilities as the backend sent them: lists under `content` and `refusal`."""


class Reply(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True, repr_omit_defaults=True):
    """One whole answer. A plain `Reply` is a `Reply[Any]`; `chat(..., response_format=City)` returns a `Reply[City]`."""

    text: str
    model: str = ""
    """The model that answered, by the backend's own name."""
    provider: str = ""
    finish_reason: str | None = "stop"
    """stop, length, tool_calls, content_filter, ...; None if the backend did not report it."""
    usage: Usage = Usage()
    cost: Decimal | None = None
    """USD; None if the price is unknown, 0 for an answer from the cache."""
    cached: bool = False
    saved: Decimal | None = None
    """USD that the cache saved; None if nothing was saved or the price is unknown."""
    latency_s: float = 0.0
    """Seconds from the call to the answer; for a cached answer, those of the original call."""
    tool_calls: tuple[ToolCall, ...] = ()
    service_tier: str | None = None
    """The backend's name of the tier that served the request."""
    request_id: str | None = None
    body: bytes = b""
    """The upstream's answer; unchanged if it is one JSON document."""
    parsed: T = None  # type: ignore[assignment]  # None without a type in response_format
    """The answer as an instance of the type of `response_format=`."""
    limits: RateLimits | None = None
    """The rate limits that the backend reported; None for an answer from the cache."""
    cost_source: CostSource | None = None
    """The source of `cost`, or of `saved` for an answer from the cache; None if the price is unknown.

    "server": the backend billed it. "config": `[prices]` of the configuration. "provider": the plugin's price table.
    """
    refusal: str | None = None
    """The text of a refusal; None if the model answered. A refusal is never cached."""
    reasoning: str = ""
    """The reasoning that the backend returned with the answer; empty if there is none."""
    logprobs: Mapping[str, Any] | None = None
    """Log probabilities; see `Choice.logprobs`."""
    other_choices: tuple[Choice, ...] = ()
    """The choices after the first, whose content is in the fields above."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All answers, in the backend's order. The first one is that of the fields `text`, `tool_calls`, ..."""
        first = Choice(
            text=self.text,
            reasoning=self.reasoning,
            refusal=self.refusal,
            tool_calls=self.tool_calls,
            finish_reason=self.finish_reason,
            logprobs=self.logprobs,
        )
        return (first, *self.other_choices)

    @property
    def raw(self) -> Any:
        """The upstream's JSON document, decoded; None if there is none."""
        return msgspec.json.decode(self.body) if self.body else None


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """One piece of a streamed answer. The last one has a `finish_reason`, and the usage if it is known."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Pieces of calls: join `arguments` by `index`; name and id occur once."""
    finish_reason: str | None = None
    """On the last piece of a choice."""
    usage: Usage | None = None
    model: str = ""
    service_tier: str | None = None
    request_id: str | None = None
    body: bytes = b""
    """On the last piece: the whole answer as one document, if the provider assembles it."""
    limits: RateLimits | None = None
    """On the last piece."""
    refusal: str | None = None
    """A piece of the refusal."""
    reasoning: str = ""
    """A piece of the reasoning."""
    choice: int = 0
    """The choice that the piece belongs to, an index of `Reply.choices`."""
    logprobs: Mapping[str, Any] | None = None
    """Log probabilities of the piece: join the lists under `content` and `refusal`."""
    raw: bytes | None = None
    """The upstream's event that brought the piece: its data, without `data: `; None in a replay, or if there was no event.

    Empty for a further piece of the same event.
    """
    event_name: str | None = None
    """The name of that event."""

    @property
    def has_content(self) -> bool:
        """Whether the piece adds to the answer, or ends it; an event such as a heartbeat does neither."""
        return bool(
            self.text
            or self.finish_reason
            or self.reasoning
            or self.tool_calls
            or self.refusal
            or self.usage is not None
            or self.logprobs
        )


class WireEvent(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One event of a stream in a vendor's format, as `send_stream` yields it."""

    data: bytes
    """The payload, without `data: ` and the blank line after it."""
    name: str | None = None
    """The name of the event; None if it has none."""
    delta: Delta | None = None
    """What the event adds to the answer; None if it adds nothing. Of several pieces, the first."""


class CallStart(msgspec.Struct, frozen=True, kw_only=True):
    """The event that observers receive before a call is looked up elsewhere than in the cache, or when the cache answers it."""

    kind: str
    """llm, voice, ..."""
    provider: str
    model: str
    """The requested model."""
    started_at: float
    """Seconds since 1970-01-01 UTC."""
    call: str = ""
    """The id of the call in the ledger; empty for an answer from the cache."""
    stream: bool = False
    user: str | None = None
    tags: tuple[str, ...] = ()


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The event that observers receive when a call has ended."""

    kind: str
    """llm, voice, ..."""
    provider: str
    model: str
    usage: Usage = Usage()
    characters: int = 0
    """voice: characters that this call paid for."""
    cost: Decimal | None = None
    cost_source: CostSource | None = None
    """llm: see `Reply.cost_source`."""
    cached: bool = False
    latency_s: float = 0.0
    attempts: int = 0
    """Requests that were made; 0 for an answer from the cache."""
    call: str = ""
    """The id of the call in the ledger, which its attempts and fallbacks share; without rows if another call was shared."""
    user: str | None = None
    tags: tuple[str, ...] = ()
    error: str | None = None
    """Name of the exception that ended the call; None if it was answered."""
    started_at: float = 0.0
    """Seconds since 1970-01-01 UTC."""
    request_id: str | None = None
    """The backend's id of the request; of the last one if there were several."""
    finish_reason: str | None = None
    """llm: see `Reply.finish_reason`."""
    tier: str | None = None
    """llm: see `Reply.service_tier`."""
    first_token_s: float | None = None
    """Seconds from the start to the first content of a streamed answer; None if it was not streamed by the backend."""
    stream: bool = False
    """Whether the application asked for a stream."""
    start: Any = None
    """What this observer's `on_start` returned for the call."""
    request: ChatRequest | None = None
    """llm: the request, for observers with `receives_content = True`; None for all others."""
    reply: Reply | None = None
    """llm: the answer, for the same observers; None if the call failed."""


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The event that observers, webhooks and commands receive when a budget reaches one of its fractions."""

    budget: str
    """Its readable name: "day", "month openai:gpt-6-sol"."""
    fraction: float
    """The highest of `alert_at` that is reached."""
    limit: Decimal
    """In `unit`, as are `spent` and `reserved`."""
    spent: Decimal
    reserved: Decimal
    """Reserved for requests in progress."""
    period: str
    """2026-11-25, 2026-11 or total."""
    unit: str = "USD"
    """USD, or characters."""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a storage."""

    key: str
    size_bytes: int
    modified: float
    """Seconds since 1970-01-01 UTC."""
    content_type: str | None = None
    """The media type, such as "text/plain"; None if it is unknown."""
    etag: str | None = None
    """Identifies the stored content: it changes with the content. None if the backend or the listing has none."""
