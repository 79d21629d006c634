"""The values that cross every contract: requests, replies, usage, speech; typed and frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec

from llmcore.units import Duration, Size, TokenCount

__all__ = [
    "AlertEvent",
    "AudioFormat",
    "CallEvent",
    "ChatRequest",
    "Delta",
    "Duration",
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
]

AudioFormat = Literal["wav", "mp3", "ogg", "opus", "flac", "aac", "pcm", "ulaw", "alaw"]


class Secret:
    """A key or password that shows itself to nobody who does not ask by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself. Call it where it is sent, and keep no copy."""
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
        raise TypeError("a Secret is not copied out of its process")


class Message(TypedDict, total=False):
    """One message of a conversation, in the shape of Chat Completions.

    A plain dict: what is not named here (images, audio, a vendor's own fields) passes through untouched.
    Source: https://platform.openai.com/docs/api-reference/chat/create
    """

    role: str
    """system, developer, user, assistant or tool."""
    content: str | Sequence[Mapping[str, Any]] | None
    """A text, or parts such as `{"type": "image_url", ...}`; None beside tool calls."""
    name: str
    tool_calls: Sequence[Mapping[str, Any]]
    tool_call_id: str


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """Tokens of one answer as the backend counted them."""

    input_tokens: int = 0
    """All input tokens, cached ones included. Backends differ: plugins add up what theirs reports apart."""
    output_tokens: int = 0
    """All output tokens, reasoning included."""
    cached_tokens: int = 0
    """Part of `input_tokens` that the vendor read from its own prompt cache."""
    cache_write_tokens: int = 0
    """Part of `input_tokens` that the vendor wrote to its prompt cache."""
    cache_write_12h_tokens: int = 0
    """Part of `cache_write_tokens` that is kept for 12 hours, which costs more."""
    reasoning_tokens: int = 0
    """Part of `output_tokens` that is not shown."""
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    estimated: bool = False
    """True where the backend sent no count and a local one stands in."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """The model asks for a function to be called."""

    name: str
    arguments: str
    """JSON text as the model wrote it; it may not be valid."""
    id: str = ""
    type: str = "function"
    index: int = 0
    """Position among the calls of one answer; pieces of a streamed call share it."""


class RateLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """What a backend said of its rate limits; None where it said nothing."""

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset_s: float | None = None
    """Seconds until all of the limit is there again, if nothing more is sent."""
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset_s: float | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a language model, checked; what a provider's `complete` and `stream` take."""

    model: str
    messages: Sequence[Message]
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What goes on the wire beside model and messages: temperature, tools, ..."""
    timeout_s: float | None = None
    """Seconds until the call's deadline."""
    idle_s: float | None = None
    """Longest silence allowed inside one answer, in seconds."""

    def body(self) -> dict[str, Any]:
        """Return the request as a Chat Completions body, in the order in which it was given."""
        return {"model": self.model, "messages": self.messages, **self.parameters}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, repr_omit_defaults=True):
    """One whole answer."""

    text: str
    model: str = ""
    """The model that answered, by the backend's own name."""
    provider: str = ""
    finish_reason: str | None = "stop"
    """stop, length, tool_calls, content_filter, ...; None where the backend did not say."""
    usage: Usage = Usage()
    cost: Decimal | None = None
    """USD; None where the price is not known, 0 for an answer from the cache."""
    cached: bool = False
    saved: Decimal | None = None
    """USD that the cache saved; None where nothing was saved or the price is not known."""
    latency_s: float = 0.0
    """Seconds from the call to the answer; of a cached answer the original's."""
    tool_calls: tuple[ToolCall, ...] = ()
    service_tier: str | None = None
    """The tier that served, as the backend names it."""
    request_id: str | None = None
    body: bytes = b""
    """What the upstream sent, byte for byte where it sent one JSON document."""
    parsed: Any = None
    """The answer as an instance of what `response_format=` asked for."""
    limits: RateLimits | None = None
    """What the backend said of its rate limits; never of an answer from the cache."""

    @property
    def raw(self) -> Any:
        """The upstream's JSON document, decoded; None where there was none."""
        return msgspec.json.decode(self.body) if self.body else None


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """One piece of a streamed answer. The last one carries a `finish_reason`, and usage where it is known."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Pieces of calls: `arguments` is to be joined by `index`; name and id come once."""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""
    service_tier: str | None = None
    request_id: str | None = None
    body: bytes = b""
    """On the last piece: the whole answer as one document, where the provider assembles it."""
    limits: RateLimits | None = None
    """On the last piece."""


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What observers are told when a call has ended."""

    kind: str
    """llm, voice, ..."""
    provider: str
    model: str
    usage: Usage = Usage()
    characters: int = 0
    """voice: characters that this call paid for."""
    cost: Decimal | None = None
    cached: bool = False
    latency_s: float = 0.0
    attempts: int = 0
    """Requests that reached for the backend; 0 for an answer from the cache."""
    call: str = ""
    """In the ledger, the name of the call: its attempts and fallbacks share it."""
    user: str | None = None
    tags: tuple[str, ...] = ()
    error: str | None = None
    """Name of the exception that ended the call; None where it was answered."""


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What observers, webhooks and commands are told when a budget has come to one of its fractions."""

    budget: str
    """What people call it: "day", "month openai:gpt-6-sol"."""
    fraction: float
    """The highest of `alert_at` that is reached."""
    limit: Decimal
    """In `unit`, as are `spent` and `reserved`."""
    spent: Decimal
    reserved: Decimal
    """For requests under way."""
    period: str
    """2026-11-25, 2026-11 or total."""
    unit: str = "USD"
    """USD, or characters."""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a storage knows of one file."""

    key: str
    size_bytes: int
    modified: float
    """Seconds since 1970-01-01 UTC."""
    content_type: str | None = None
    """The media type, such as "text/plain"; None where it is not known."""
    etag: str | None = None
    """Names what is stored now: other bytes, another etag. None where the backend, or this listing, has none."""


class VoiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One voice of a provider."""

    voice_id: str
    name: str
    language: str | None = None
    """BCP 47, such as "en-GB"."""
    description: str | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class VoicePage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the voices that a search found."""

    voices: tuple[VoiceInfo, ...]
    next: str | None = None
    """What `after=` takes for the following page; None at the end."""


class VoiceModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model that speaks."""

    model_id: str
    name: str = ""
    max_characters: int | None = None
    """Most that it takes in one request; None where nobody says."""
    languages: tuple[str, ...] = ()
    """BCP 47, such as "en"; empty where nobody says."""
    description: str | None = None


class VoiceTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a speech before it is spoken, without the network."""

    voice: str = ""
    """The voice that will speak: the configured one's id where the caller named none."""
    model: str = ""
    format: AudioFormat
    sample_rate_hz: int | None = None
    """None where only the audio tells."""
    max_characters: int | None = None
    """Most that one request takes, in characters of Python's `len`; None for any number."""
    identity: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What decides the audio beside the text, the caller's settings and the fields here.

    Address, account, and every option that `synthesize` adds to the request; a secret as a digest. It goes into the
    audio cache's key.
    """
    stitches: bool = False
    """Whether `synthesize` takes `previous_text`, `next_text` and `previous_request_ids`."""
    concurrency: int = 1
    """How many requests for the pieces of one text may be under way at once."""


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """Spoken text."""

    audio: bytes
    format: AudioFormat
    sample_rate_hz: int | None = None
    duration_s: float | None = None
    """Seconds; None where nobody says. The host reads it from the audio."""
    characters: int = 0
    """Characters that were spoken, as the vendor counts them; a provider may leave the counting to the host."""
    billed_characters: int = 0
    """Part of `characters` that this call paid for; the rest came from the cache. Filled in by the host."""
    cost: Decimal | None = None
    """USD; None where the price is not known, 0 for a speech from the cache."""
    cached: bool = False
    """Whether all of it came from the cache."""
    saved: Decimal | None = None
    """USD that the cache saved; None where nothing was saved or the price is not known."""
    voice: str = ""
    model: str = ""
    provider: str = ""
    alignment: tuple[tuple[str, float, float], ...] = ()
    """(character, start, end), times in seconds, where the provider tells; the characters joined are the text."""
    request_id: str | None = None
    """The backend's own name for the request; of a speech in several pieces the last one's."""

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the audio to the file *path*, in place of what was there: wholly or not at all.

        The file keeps the mode that it had. A link is followed; a pipe or device is written to as it is.

        Raises:
            OSError: It cannot be written; what was there is as it was.
        """
        from llmcore.writing import written

        target = Path(path)
        written(target, [self.audio])
        return target

    def __repr__(self) -> str:
        length = "" if self.duration_s is None else f", {self.duration_s:.2f} s"
        return f"Speech({len(self.audio)} bytes of {self.format}{length}, {self.characters} characters)"
