"""Offers the voice `espeak`: speaks on this machine, without a network, a key or a model to bring."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Options, Provider, hookimpl

if TYPE_CHECKING:
    from llmcore_voice_espeak.offline import EspeakOffline
    from llmcore_voice_espeak.provider import EspeakVoice

LLMCORE_API = 1


class EspeakOptions(Options, frozen=True):
    """Options of `[voice.espeak]`."""

    voice: str = "en-us"
    """What speaks where no voice is asked for: an id that `llmcore voices` shows, with a variant if you like: "en-us+f3"."""
    format: str = "wav"
    """wav or pcm; with soundfile installed also mp3, ogg, flac."""
    speed: float = 1.0
    """From 0.5 to 2.5; 1.0 is 175 words a minute."""
    pitch: int = 50
    """From 0 to 99."""


def create(options: EspeakOptions) -> EspeakVoice:
    """Return the voice of these options."""
    from llmcore_voice_espeak.provider import EspeakVoice

    return EspeakVoice(options)


def offline(options: EspeakOptions) -> EspeakOffline:
    """Return what is known of a speech without the library."""
    from llmcore_voice_espeak.offline import EspeakOffline

    return EspeakOffline(options)


@hookimpl
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer `espeak`."""
    yield Provider(name="espeak", options=EspeakOptions, create=create, offline=offline)
