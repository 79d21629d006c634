"""Register the voice provider `elevenlabs`; the SDK is imported at first use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from llmcore.hookspecs import Provider, hookimpl
from llmcore_voice_tts.options import OFFICIAL, ElevenLabsOptions

if TYPE_CHECKING:
    from llmcore_voice_tts.offline import Offline
    from llmcore_voice_tts.provider import ElevenLabsVoice

__all__ = ["LLMCORE_API", "ElevenLabsOptions", "create", "llmcore_voice_providers", "offline"]

LLMCORE_API: Final = 1


def create(options: ElevenLabsOptions) -> ElevenLabsVoice:
    """Return the provider.

    Raises:
        ConfigError: The key is missing, or the address is invalid.
    """
    from llmcore_voice_tts.provider import ElevenLabsVoice

    return ElevenLabsVoice(options)


def offline(options: ElevenLabsOptions) -> Offline:
    """Return the abilities that need no SDK, key or network."""
    from llmcore_voice_tts.offline import Offline

    return Offline(options)


def known_models(table: Mapping[str, Any]) -> Iterable[str]:
    """Return the known models if `base_url` is the vendor's own address, in any region."""
    from urllib.parse import urlsplit

    from llmcore_voice_tts.models import MODELS

    try:
        host = urlsplit(str(table.get("base_url") or OFFICIAL)).hostname or ""
    except ValueError:  # the provider raises the error
        return ()
    return tuple(MODELS) if f".{host}".endswith(".elevenlabs.io") else ()


@hookimpl
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer `elevenlabs`."""
    yield Provider(
        name="elevenlabs",
        create=create,
        options=ElevenLabsOptions,
        offline=offline,
        known_models=known_models,
    )
