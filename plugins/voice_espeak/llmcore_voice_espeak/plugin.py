"""Register the voice `espeak`, which runs locally without network, key and model files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_voice_espeak.options import EspeakOptions

if TYPE_CHECKING:
    from llmcore_voice_espeak.offline import EspeakOffline
    from llmcore_voice_espeak.provider import EspeakVoice

__all__ = ["LLMCORE_API", "EspeakOptions"]

LLMCORE_API = 1


def create(options: EspeakOptions) -> EspeakVoice:
    """Return the voice."""
    from llmcore_voice_espeak.provider import EspeakVoice

    return EspeakVoice(options)


def offline(options: EspeakOptions) -> EspeakOffline:
    """Return the abilities that work without the C library."""
    from llmcore_voice_espeak.offline import EspeakOffline

    return EspeakOffline(options)


@hookimpl
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer `espeak`."""
    yield Provider(name="espeak", options=EspeakOptions, create=create, offline=offline)
