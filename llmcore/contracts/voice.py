"""The contract of a voice: it turns text into audio.

Some settings have the same name at every provider: `model`; `format`, an `AudioFormat` or the vendor's name of a
format; `speed`, where 1.0 is normal; `language`, as BCP 47; `seed`.

A text is SSML if `llmcore.support.ssml.find_ssml` finds a document in it. The host then passes only this document,
which begins with `<speak`.

The host passes further settings, but only to a provider that implements `VoiceOffline`. These settings do not change
the words that are spoken:

- `timeout_s`, the time until the deadline, and `idle_s`, the longest silence, both in seconds and never None. The
  provider must end the request and raise `Timeout` when `timeout_s` has passed, or when no byte has arrived for
  `idle_s`. At the deadline, the host abandons a method that does not end.
- If `VoiceTraits.stitches` is set: `previous_text` and `next_text`, the texts before and after the piece, which are
  absent at the start or the end of the text; and `previous_request_ids`, the `Speech.request_id` of at most three
  previous pieces, oldest first.

Any other method may declare a keyword `timeout_s`, as in `def list_voices(self, *, timeout_s: float = 60)`: the seconds
until the deadline. The host passes this argument only to methods that declare it. If a blocking method does not
declare `timeout_s`, the host waits until the method returns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits

__all__ = [
    "AsyncVoiceCloningProvider",
    "AsyncVoiceModels",
    "AsyncVoiceProvider",
    "AsyncVoiceSearch",
    "AsyncVoiceStreaming",
    "AsyncVoiceTimestamps",
    "VoiceCloningProvider",
    "VoiceModels",
    "VoiceOffline",
    "VoiceProvider",
    "VoiceSearch",
    "VoiceStreaming",
    "VoiceTimestamps",
]


@runtime_checkable
class VoiceProvider(Protocol):
    """Speak a text, blocking. Several threads may call at the same time."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """Speak *text* in one piece.

        `Speech.audio` is a complete file in `Speech.format`; for "pcm" it is 16-bit signed little-endian mono at
        `sample_rate_hz`.

        Args:
            text: Not empty. Raise TextTooLong if it is longer than the provider's limit; never cut it.
            voice: A voice id of the provider; None for the configured one.
            settings: The provider's settings, such as `speed`. Raise BadRequest for an unknown one.

        Raises:
            VoiceNotFound: The voice does not exist.
            TextTooLong: The text is too long; nothing was sent.
            BadRequest: A setting is not acceptable; nothing was sent.
            NotAudio: The answer cannot be played.
            ProviderError: The backend refused or failed.
        """
        ...

    def list_voices(self) -> Sequence[VoiceInfo]:
        """Return all available voices, in a stable order."""
        ...

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """Return one voice.

        Raises:
            VoiceNotFound: The voice does not exist.
        """
        ...


@runtime_checkable
class AsyncVoiceProvider(Protocol):
    """Speak a text, asynchronously."""

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        ...

    async def alist_voices(self) -> Sequence[VoiceInfo]:
        """See `VoiceProvider.list_voices`."""
        ...

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        ...


@runtime_checkable
class VoiceStreaming(Protocol):
    """Speak piece by piece, blocking."""

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """Yield the pieces of one audio file as they arrive.

        The joined pieces are the `Speech.audio` that `synthesize` would return. A WAV file of unknown length has the length
        0xFFFFFFFF in its header. Closing the iterator ends the request. If the audio breaks off, raise an error instead of
        the missing piece; never end early without an error.

        Args:
            text: See `VoiceProvider.synthesize`.
            voice: See `VoiceProvider.synthesize`.
            settings: See `VoiceProvider.synthesize`. Every byte that arrives resets `idle_s`, even if it yields no
                piece.

        Raises:
            VoiceError: As in `VoiceProvider.synthesize`, at the first or any later piece.
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncVoiceStreaming(Protocol):
    """Speak piece by piece, asynchronously."""

    def astream_speech(self, text: str, voice: str | None = None, **settings: Any) -> AsyncIterator[bytes]:
        """See `VoiceStreaming.stream_speech`. Write it as `async def` with `yield`."""
        ...


@runtime_checkable
class VoiceTimestamps(Protocol):
    """Return the time at which each character is spoken."""

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """Speak *text* in one piece, with every character of *text* in `Speech.alignment`, in order."""
        ...


@runtime_checkable
class AsyncVoiceTimestamps(Protocol):
    """Return the time at which each character is spoken, asynchronously."""

    async def asynthesize_with_timestamps(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`."""
        ...


@runtime_checkable
class VoiceSearch(Protocol):
    """Search in a large collection of voices."""

    def search_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """Return one page of the voices that match, in a stable order.

        Args:
            query: Words in the name, description or labels of a voice; None for all voices.
            limit: The maximum number of voices on the page, at least 1.
            after: `VoicePage.next` of the previous page.
            filters: The provider's filters, such as `language` or `gender`. Raise BadRequest for an unknown one.

        Raises:
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncVoiceSearch(Protocol):
    """Search in a large collection of voices, asynchronously."""

    async def asearch_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """See `VoiceSearch.search_voices`."""
        ...


@runtime_checkable
class VoiceModels(Protocol):
    """List the models that turn text into speech."""

    def list_voice_models(self) -> Sequence[VoiceModel]:
        """Return the models that turn text into speech, in a stable order.

        Raises:
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncVoiceModels(Protocol):
    """List the models that turn text into speech, asynchronously."""

    async def alist_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        ...


@runtime_checkable
class VoiceOffline(Protocol):
    """Know the properties and the cost of a speech without network, key or SDK.

    The provider has these methods, or the object that `Provider.offline` returns has them. With such an object, a cache
    hit loads no SDK.
    """

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """Return the properties of the speech that `synthesize(text, voice, **settings)` would return.

        Args:
            voice: A voice id; None for the configured one.
            settings: The caller's settings, including `model` and `format`, without the settings that the host adds.

        Raises:
            BadRequest: A setting is unknown or not acceptable; the error has the nearest name.
        """
        ...

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """Return the cost of *characters* in USD; None if the price is not known, never 0.

        Args:
            model: `VoiceTraits.model`.
            characters: The length of the text that is sent, by Python's `len`.
            at: The time of the call, since prices change; None for now.
        """
        ...


@runtime_checkable
class VoiceCloningProvider(Protocol):
    """Create voices from recordings of a person."""

    def clone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        """Create a voice.

        Args:
            name: The name of the voice in lists.
            samples: Recordings, each a complete audio file. Do not log or store them.
            consent: The speaker's agreement in words, or the place where it is stored; not empty.
            description: A description for users.
            labels: Labels for search.

        Raises:
            VoiceError: The consent is empty, or the recordings are not suitable.
            ProviderError: The backend refused or failed.
        """
        ...

    def delete_voice(self, voice_id: str) -> bool:
        """Delete a cloned voice; return whether it existed."""
        ...


@runtime_checkable
class AsyncVoiceCloningProvider(Protocol):
    """Create voices from recordings of a person, asynchronously."""

    async def aclone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        """See `VoiceCloningProvider.clone_voice`."""
        ...

    async def adelete_voice(self, voice_id: str) -> bool:
        """See `VoiceCloningProvider.delete_voice`."""
        ...
