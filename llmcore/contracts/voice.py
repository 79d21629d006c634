"""What a voice promises: to turn text into audio that plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from llmcore.types import Speech, VoiceInfo


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
            settings: The provider's own, such as `speed`.

        Raises:
            VoiceNotFound: There is no such voice.
            TextTooLong: Nothing was sent.
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
