"""Offers the voice provider `elevenlabs`; the SDK is imported when it is first used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from llmcore.hookspecs import Provider, hookimpl
from llmcore_voice_tts.account import ElevenLabsOptions

if TYPE_CHECKING:
    from llmcore_voice_tts.offline import Offline
    from llmcore_voice_tts.provider import ElevenLabsVoice

__all__ = ["LLMCORE_API", "ElevenLabsOptions", "create", "llmcore_voice_providers", "offline"]

LLMCORE_API: Final = 1


def create(options: ElevenLabsOptions) -> ElevenLabsVoice:
    """Return the provider.

    Raises:
        ConfigError: There is no key, or the address is none.
    """
    from llmcore_voice_tts.provider import ElevenLabsVoice

    return ElevenLabsVoice(options)


def offline(options: ElevenLabsOptions) -> Offline:
    """Return what knows a speech beforehand; needs no key."""
    from llmcore_voice_tts.offline import Offline

    return Offline(options)


@hookimpl
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer `elevenlabs`."""
    yield Provider(name="elevenlabs", create=create, options=ElevenLabsOptions, offline=offline)
