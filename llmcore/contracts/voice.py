"""What a voice promises: to turn text into audio that plays.

Settings that several providers have bear the same names: `model`; `format`, an `AudioFormat` or the vendor's own name
of one; `speed`, where 1.0 is normal; `language`, BCP 47; `seed`.

A text is SSML where `llmcore.contracts.ssml.document` says so; the host hands it over from `<speak` on.

A provider that tells its traits (`VoiceOffline`) also takes, as settings, what only the host knows: `timeout_s`, what
is left of the deadline, and `idle_s`, the longest silence, both in seconds and never None. Where its traits say
`stitches`, it takes as well `previous_text` and `next_text`, what is said before and after (left out at the ends), and
`previous_request_ids`, at most three, oldest first, the `Speech.request_id` of pieces just spoken. None of these change
what is said, and none is ever passed to a provider that tells no traits.

Any other method may name a keyword `timeout_s` as well, as in `def list_voices(self, *, timeout_s: float = 60)`: the
seconds that are left. The host passes it to those that name it; a blocking one that does not is waited for until it
returns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits


@runtime_checkable
class VoiceProvider(Protocol):
    """Speaks, blocking. Several threads may call at once."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """Speak *text* in one piece.

        `Speech.audio` is a whole file of `Speech.format`; for "pcm" it is 16-bit signed little-endian mono at
        `sample_rate_hz`.

        Args:
            text: Not empty; the provider's limit on its length is an error, not a cut.
            voice: A voice id of the provider; None takes the configured one.
            settings: The provider's own, such as `speed`; one that it does not know is a `BadRequest`.

        Raises:
            VoiceNotFound: There is no such voice.
            TextTooLong: Nothing was sent.
            BadRequest: A setting does not fit; nothing was sent.
            NotAudio: What came back cannot be played.
            ProviderError: The backend refused or failed.
        """
        ...

    def list_voices(self) -> Sequence[VoiceInfo]:
        """Return every voice on offer, in a stable order."""
        ...

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """Return one voice.

        Raises:
            VoiceNotFound: There is no such voice.
        """
        ...


@runtime_checkable
class AsyncVoiceProvider(Protocol):
    """Speaks, asynchronously."""

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
    """Speaks piece by piece, blocking."""

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """Yield the audio as it comes, one file in all.

        The pieces joined are what `synthesize` would return in `Speech.audio`; a wav whose length is not known yet says
        0xFFFFFFFF in its header. Closing the iterator ends the request. A text that breaks off is an error, raised at
        the piece that is missing, never a short end.

        Args:
            text: As in `VoiceProvider.synthesize`, as are the rest.
            voice: See there.
            settings: See there; `idle_s` is the longest wait for one piece.

        Raises:
            VoiceError: As `VoiceProvider.synthesize`, at the first or any later piece.
            ProviderError: As there.
        """
        ...


@runtime_checkable
class AsyncVoiceStreaming(Protocol):
    """Speaks piece by piece, asynchronously."""

    def astream_speech(self, text: str, voice: str | None = None, **settings: Any) -> AsyncIterator[bytes]:
        """See `VoiceStreaming.stream_speech`. Written as `async def` with `yield`."""
        ...


@runtime_checkable
class VoiceTimestamps(Protocol):
    """Tells when each character is spoken."""

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """Speak *text* in one piece, with `Speech.alignment` filled: every character of *text*, in order."""
        ...


@runtime_checkable
class AsyncVoiceTimestamps(Protocol):
    """Tells when each character is spoken, asynchronously."""

    async def asynthesize_with_timestamps(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`."""
        ...


@runtime_checkable
class VoiceSearch(Protocol):
    """Searches among more voices than one list holds."""

    def search_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """Return one page of the voices that fit, in a stable order.

        Args:
            query: Words that the voice's name, description or labels hold; None for all voices.
            limit: Most voices of one page, from 1.
            after: `VoicePage.next` of the page before.
            filters: The provider's own, such as `language` or `gender`; one that it does not know is a `BadRequest`.

        Raises:
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncVoiceSearch(Protocol):
    """Searches among more voices than one list holds, asynchronously."""

    async def asearch_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """See `VoiceSearch.search_voices`."""
        ...


@runtime_checkable
class VoiceModels(Protocol):
    """Lists the models that speak."""

    def list_voice_models(self) -> Sequence[VoiceModel]:
        """Return the models that turn text into speech, in a stable order.

        Raises:
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncVoiceModels(Protocol):
    """Lists the models that speak, asynchronously."""

    async def alist_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        ...


@runtime_checkable
class VoiceOffline(Protocol):
    """Knows beforehand what a speech will be and cost; needs no network, no key and no SDK.

    Kept by the provider itself, or by what `Provider.offline` returns, so that speech from the cache loads no SDK.
    """

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """Return what `synthesize(text, voice, **settings)` will be.

        Args:
            voice: None takes the configured one.
            settings: The caller's, `model` and `format` among them; none of the host's.

        Raises:
            BadRequest: A setting is not known or does not fit, with the nearest name.
        """
        ...

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """Return what *characters* cost in USD, None where the price is not known; never 0 for unknown.

        Args:
            model: As `VoiceTraits.model` names it.
            characters: Of the text that is sent, by Python's `len`.
            at: The moment whose price counts; None for now.
        """
        ...


@runtime_checkable
class VoiceCloningProvider(Protocol):
    """Makes a voice from recordings of a person."""

    def clone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        """Make a voice.

        Args:
            name: How the voice is listed.
            samples: Recordings, each a whole audio file. Never logged, never kept.
            consent: The speaker's agreement in words, or where it is kept; not empty.
            description: For people.
            labels: For searching.

        Raises:
            VoiceError: There is no consent, or the recordings do not do.
            ProviderError: The backend refused or failed.
        """
        ...

    def delete_voice(self, voice_id: str) -> bool:
        """Delete a cloned voice; return whether there was one."""
        ...


@runtime_checkable
class AsyncVoiceCloningProvider(Protocol):
    """Makes a voice from recordings of a person, asynchronously."""

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
