"""The options of the voice `espeak`."""

from __future__ import annotations

from llmcore.hookspecs import Options

__all__ = ["EspeakOptions"]


class EspeakOptions(Options, frozen=True):
    """Options of `[voice.espeak]`."""

    voice: str = "en-us"
    """The default voice: an id of `llmcore voices`, optionally with a variant, such as "en-us+f3"."""
    format: str = "wav"
    """wav or pcm; with soundfile installed also mp3, ogg, flac."""
    speed: float = 1.0
    """From 0.5 to 2.5; 1.0 is 175 words a minute."""
    pitch: int = 50
    """From 0 to 99."""
