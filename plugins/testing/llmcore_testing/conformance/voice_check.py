"""Check a `Speech`: complete audio, and the format, sample rate and duration of that audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import pytest

from llmcore.errors import NotAudio
from llmcore.support.wav import read_wav_head
from llmcore.types import AudioFormat, Speech
from llmcore.voice.audio.check import read_audio
from llmcore.voice.audio.concatenation import JOINABLE, join_audio, make_body

__all__ = ["check", "check_joined"]

_CHUNK: Final = 777
"""The size of a chunk in tests of streams. An odd size makes chunks end inside samples and frames."""


def check(speech: Any) -> Speech:
    """Check that *speech* follows the contract, and return it."""
    __tracebackhide__ = True
    assert isinstance(speech, Speech), f"synthesize must return a Speech, got {type(speech).__name__}"
    assert type(speech.audio) is bytes, f"Speech.audio must be bytes, got {type(speech.audio).__name__}"
    assert speech.audio, "Speech.audio must not be empty"
    assert speech.format in get_args(AudioFormat), (
        f"Speech.format must be one of llmcore.types.AudioFormat, got {speech.format!r}"
    )
    found = None
    try:
        found = read_audio(speech.audio, speech.format, speech.sample_rate_hz)
    except NotAudio as error:
        fault = error.message
    if found is None:
        pytest.fail(f"Speech.audio cannot be played: {fault}")
    assert len(found.audio) == len(speech.audio) or speech.format != "pcm", (
        "pcm audio must end with a complete sample"
    )
    if speech.format == "wav":
        _check_frames(speech.audio)
    if speech.format == "pcm":
        assert speech.sample_rate_hz, "Speech.sample_rate_hz must be set for pcm"
    if None not in (speech.sample_rate_hz, found.sample_rate_hz):
        assert speech.sample_rate_hz == found.sample_rate_hz, (
            "Speech.sample_rate_hz must equal the audio's rate"
        )
    if speech.duration_s is not None and found.duration_s is not None:
        expected = pytest.approx(found.duration_s, rel=0.05, abs=0.2)
        assert speech.duration_s == expected, "Speech.duration_s must equal the audio's duration"
    return speech


def _check_frames(audio: bytes) -> None:
    """Check that the samples of a WAV end with a complete frame, and that the header declares the right length, if any."""
    __tracebackhide__ = True
    head = read_wav_head(audio)
    assert head is not None
    there = len(audio) - head.begins
    size = there if head.size in (None, 0) else head.size  # an earlier check rejects a WAV without samples
    assert size is not None
    assert head.cut(size) == size, f"the wav must end with a complete frame of {head.frame_bytes} bytes"
    behind = audio[head.begins + size + size % 2 :]
    name, length = behind[:4], int.from_bytes(behind[4:8], "little")
    assert not behind or (name.isascii() and name.decode().isprintable() and length <= len(behind) - 8), (
        f"the wav header declares {size:,} bytes of samples, but the file has {there:,}"
    )


def check_joined(speeches: Sequence[Speech]) -> None:
    """Join *speeches*, once as a whole and once in chunks.

    Check that each result lasts as long as all *speeches* together.
    """
    __tracebackhide__ = True
    kind, rate = speeches[0].format, speeches[0].sample_rate_hz
    if kind not in JOINABLE:
        return
    whole = [read_audio(speech.audio, kind, rate) for speech in speeches]
    lengths = [each.duration_s for each in whole]
    parts: list[bytes] = []
    for number, each in enumerate(whole):
        body = make_body(kind, first=number == 0)
        parts += [body.feed(each.audio[at : at + _CHUNK]) for at in range(0, len(each.audio), _CHUNK)]
        parts.append(body.end())
    for audio in (join_audio(kind, [each.audio for each in whole]), b"".join(parts)):
        found = read_audio(audio, kind, rate).duration_s
        if found is not None and None not in lengths:
            expected = pytest.approx(sum(length or 0.0 for length in lengths), abs=0.001)
            assert found == expected, "the duration of joined audio must be the sum of the durations"
