"""The types that the host and all plugins exchange: requests, `Reply`, `Delta`, usage, speech. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Required, TypedDict

import msgspec

from llmcore.batch_types import BatchFault, BatchLimits, BatchRequest, BatchResult, BatchStatus
from llmcore.embedding_types import EmbeddingLimits, EmbeddingRequest, Embeddings
from llmcore.event_types import AlertEvent, CallEvent, CallStart
from llmcore.units import Duration, Size, TokenCount
from llmcore.usage_types import CostSource, RateLimits, Usage
from llmcore.voice_types import AudioFormat, Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits

__all__ = [
    "AlertEvent", "AudioFormat", "BatchFault", "BatchLimits", "BatchRequest", "BatchResult", "BatchStatus",
    "CallEvent", "CallStart", "ChatRequest", "Choice", "CostSource", "Delta", "Duration", "EmbeddingLimits",
    "EmbeddingRequest", "Embeddings", "FileInfo", "Message", "RateLimits", "Reply", "Secret", "Size", "Speech",
    "TokenCount", "ToolCall", "Usage", "VoiceInfo", "VoiceModel", "VoicePage", "VoiceTraits", "WireEvent",
]  # fmt: skip

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")  # without the default, because `typing.TypeVar` has `default=` only from Python 3.13


class Secret:
    """A key or password that is not shown in texts and logs; only `reveal` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret. Call this method where the secret is sent, and keep no copy."""
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

    The message is a plain dict: llmcore sends other fields (images, audio, fields of one vendor) unchanged.
    Source: https://platform.openai.com/docs/api-reference/chat/create
    """

    role: Required[str]
    """system, developer, user, assistant or tool; or a role that only some servers know, such as ipython."""
    content: str | Sequence[Mapping[str, Any]] | None
    """The text, or a list of parts such as `{"type": "image_url", ...}`; None in a message that has only tool calls."""
    name: str
    """The name of the author, to tell apart several authors with the same role."""
    tool_calls: Sequence[Mapping[str, Any]] | None
    """assistant: the function calls that the model requested."""
    tool_call_id: str
    """tool: the id of the tool call that the message answers."""
    function_call: Mapping[str, Any] | None
    """assistant: the call of a function in the older format, which `tool_calls` replaced."""
    audio: Mapping[str, Any] | None
    """assistant: an earlier spoken answer, as `{"id": ...}`."""
    refusal: str | None
    """assistant: the text with which the model refused."""
    reasoning_content: str | None
    """The reasoning of an earlier answer. Some servers, such as DeepSeek's, need it in the next request."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """A function call that the model requests."""

    name: str
    """The name of the function."""
    arguments: str
    """The arguments as JSON text, exactly as the model wrote them. The JSON may be invalid."""
    id: str = ""
    """The backend's id of the call. The tool message that answers the call repeats it as `tool_call_id`."""
    type: str = "function"
    """The kind of tool: "function" for all tools that chat knows."""
    index: int = 0
    """The position among the tool calls of one answer; all pieces of a streamed call have the same index."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One checked request to a language model: the argument of a provider's `complete` and `stream`."""

    model: str
    """The backend's name of the model."""
    messages: Sequence[Message]
    """The conversation, oldest message first; empty for any API except "chat"."""
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """All other parameters to send: temperature, tools, ..., and the parameters of `extra_body=`.

    Messages and parameters are plain JSON values, copied: None, bool, int, float, str, list and dict. A number that no float
    represents exactly is a `Decimal`; encode it with all digits (`msgspec.json.Encoder(decimal_format="number")`).
    """
    timeout_s: float | None = None
    """Seconds until the call's deadline."""
    idle_s: float | None = None
    """The idle timeout: if the provider receives no byte for this many seconds, it raises `Timeout`."""
    api: str = "chat"
    """The API whose format the request has; see `Provider.apis`.

    For any API except "chat", `parameters` is the whole body without the model.
    """

    def body(self) -> dict[str, Any]:
        """Return the body to send to the API. The parameters keep their order."""
        if self.api != "chat":
            return {"model": self.model, **self.parameters}
        return {"model": self.model, "messages": self.messages, **self.parameters}


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """One answer of a `Reply`. A request with `n=2` gets two."""

    text: str = ""
    """The text of the answer; empty if the answer consists of tool calls only."""
    reasoning: str = ""
    """The reasoning that the backend returned; empty if it returned none."""
    refusal: str | None = None
    """The text with which the model refused; None if the model answered."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The function calls that the model requests, in its order."""
    finish_reason: str | None = None
    """Why the answer ended; see `Reply.finish_reason`."""
    logprobs: Mapping[str, Any] | None = None
    """The log probabilities that the backend sent: a dict with the lists `content` and `refusal`."""


class Reply(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True, repr_omit_defaults=True):
    """One whole answer.

    A plain `Reply` is a `Reply[Any]`; `chat(..., response_format=City)` returns a `Reply[City]`.
    """

    text: str
    """The text of the answer; empty if the answer consists of tool calls only."""
    model: str = ""
    """The backend's name of the model that answered."""
    provider: str = ""
    """The name of the provider that answered."""
    finish_reason: str | None = "stop"
    """Why the answer ended: stop, length, tool_calls, content_filter, ...; None if the backend did not report it."""
    usage: Usage = Usage()
    """The tokens that the answer used. An answer from the cache has the usage of the original call."""
    cost: Decimal | None = None
    """USD; None if the price is unknown, 0 for an answer from the cache."""
    cached: bool = False
    """True if the answer came from the cache."""
    saved: Decimal | None = None
    """USD that the cache saved; None if nothing was saved or the price is unknown."""
    latency_s: float = 0.0
    """Seconds from the call to the answer. A cached answer has the latency of the original call."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The function calls that the model requests, in its order."""
    service_tier: str | None = None
    """The backend's name of the tier that served the request."""
    request_id: str | None = None
    """The backend's id of the request; None if the backend did not report an id."""
    body: bytes = b""
    """The body that the backend sent, unchanged if the body is one JSON document."""
    parsed: T = None  # type: ignore[assignment]  # None without a type in response_format
    """The answer as an instance of the type of `response_format=`."""
    limits: RateLimits | None = None
    """The rate limits that the backend reported; None for an answer from the cache."""
    cost_source: CostSource | None = None
    """The source of `cost`. For an answer from the cache: the source of `saved`.

    None if the price is unknown. "server": the backend reported the cost. "config": `[prices]`
    in the configuration. "provider": the plugin's price table.
    """
    refusal: str | None = None
    """The text with which the model refused; None if the model answered. Refusals are never cached."""
    reasoning: str = ""
    """The reasoning that the backend returned with the answer; empty if the backend returned no reasoning."""
    logprobs: Mapping[str, Any] | None = None
    """Log probabilities; see `Choice.logprobs`."""
    other_choices: tuple[Choice, ...] = ()
    """All choices except the first. The fields above hold the first choice."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Return all answers in the backend's order.

        The first is built from the fields `text`, `tool_calls`, ...
        """
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
        """The decoded JSON document that the backend sent; None if `body` is empty."""
        return msgspec.json.decode(self.body) if self.body else None


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """One piece of a streamed answer.

    The last piece has a `finish_reason`, and the usage if the backend reported it.
    """

    text: str = ""
    """The text to append to the answer."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Pieces of tool calls: join the `arguments` of pieces with the same `index`.

    Only one of the pieces has the name and the id.
    """
    finish_reason: str | None = None
    """Only the last piece of a choice has a `finish_reason`."""
    usage: Usage | None = None
    """The tokens of the whole answer. Only the last piece has them."""
    model: str = ""
    """The backend's name of the model that answers; empty if the piece does not contain it."""
    service_tier: str | None = None
    """The backend's name of the tier that served the request; None if the piece does not contain it."""
    request_id: str | None = None
    """The backend's id of the request; None if the piece does not contain it."""
    body: bytes = b""
    """The whole answer as one document. Only the last piece has the document, and only if the provider assembles it."""
    limits: RateLimits | None = None
    """The rate limits that the backend reported. Only the last piece has them."""
    refusal: str | None = None
    """A piece of the refusal."""
    reasoning: str = ""
    """A piece of the reasoning."""
    choice: int = 0
    """The index in `Reply.choices` of the choice that the piece belongs to."""
    logprobs: Mapping[str, Any] | None = None
    """The log probabilities of the piece. Join the lists `content` and `refusal` of all pieces."""
    raw: bytes | None = None
    """The data of the event that contained the piece, without `data: `.

    Empty if an earlier piece has the same event. None if the answer is from the cache, or if the backend sends
    no events.
    """
    event_name: str | None = None
    """The name of the event in `raw`."""

    @property
    def has_content(self) -> bool:
        """Return whether the piece adds to the answer or ends the answer.

        A heartbeat, for example, does neither.
        """
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
    """The name of the event; None for an event without a name."""
    delta: Delta | None = None
    """The piece that the event adds to the answer; the first one if it adds several; None if it adds nothing."""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a storage."""

    key: str
    """The relative path of the file, with `/` between its parts."""
    size_bytes: int
    """The size of the content."""
    modified: float
    """Seconds since 1970-01-01 UTC."""
    content_type: str | None = None
    """The media type, such as "text/plain"; None if unknown."""
    etag: str | None = None
    """A text that identifies the stored content and changes with the content.

    None if the backend or the listing does not report ETags.
    """
