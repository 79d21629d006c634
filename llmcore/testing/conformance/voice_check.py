"""Looks into a speech: whether it plays to its end, and is what it says of itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from llmcore.errors import NotAudio
from llmcore.types import AudioFormat, Speech
from llmcore.voice.audio.check import heard

__all__ = ["check"]


def check(speech: Any) -> Speech:
    """Return *speech*, or fail."""
    __tracebackhide__ = True
    assert isinstance(speech, Speech), f"synthesize returns a Speech, got {type(speech).__name__}"
    assert type(speech.audio) is bytes, f"Speech.audio is bytes, got {type(speech.audio).__name__}"
    assert speech.audio, "there is no audio"
    assert speech.format in get_args(AudioFormat), (
        f"{speech.format!r} is no format of llmcore.types.AudioFormat"
    )
    found = None
    try:
        found = heard(speech.audio, speech.format, speech.sample_rate_hz)
    except NotAudio as error:
        fault = error.message
    if found is None:
        pytest.fail(f"this does not play: {fault}")
    if speech.format == "pcm":
        assert speech.sample_rate_hz, "pcm is unplayable without its sample_rate_hz"
    if None not in (speech.sample_rate_hz, found.sample_rate_hz):
        assert speech.sample_rate_hz == found.sample_rate_hz, "Speech.sample_rate_hz is not that of the audio"
    if speech.duration_s is not None and found.duration_s is not None:
        expected = pytest.approx(found.duration_s, rel=0.05, abs=0.2)
        assert speech.duration_s == expected, "Speech.duration_s is wrong"
    return speech
