"""Decode audio to samples, to test what a listener can hear."""

from __future__ import annotations

import io
import math
import operator
import sys
from array import array
from itertools import pairwise
from typing import Final, NamedTuple

import pytest

from llmcore.support.audio_signatures import RAW
from llmcore.support.wav import read_wav_head
from llmcore.types import Speech

__all__ = ["Levels", "decode"]

_WINDOW_S: Final = 0.01
_LOUD: Final = 50.0
"""The minimum standard deviation of the loudest window of speech, for 16-bit samples. Quieter audio is not speech."""
_AUDIBLE: Final = 0.02
"""A window is audible if its deviation is at least this fraction of the loudest window's deviation."""
_PCM: Final = 1
_BITS: Final = 16
_TELEPHONE_HZ: Final = 8_000


class Levels(NamedTuple):
    """The samples of the first channel, signed 16 bit."""

    samples: array[int]
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """The duration in seconds, including silence."""
        return len(self.samples) / self.rate_hz

    @property
    def sounding_s(self) -> float:
        """The number of seconds in which the audio is audible. Silence and a constant level are not audible."""
        return sum(self._find_sounding()) * _WINDOW_S

    def find_silent_parts(self, parts: int) -> list[int]:
        """Divide the audio into *parts*. Return the numbers of the silent parts, counted from 1."""
        sounding = self._find_sounding()
        edges = [len(sounding) * at // parts for at in range(parts + 1)]
        return [at for at, (begins, ends) in enumerate(pairwise(edges), 1) if not any(sounding[begins:ends])]

    def has_swapped_bytes(self) -> bool:
        """Return whether the samples are probably big-endian: swapping their bytes makes them much smoother."""
        swapped = self.samples[:]
        swapped.byteswap()
        return _get_roughness(swapped) < _get_roughness(self.samples) / 2

    def _find_sounding(self) -> list[bool]:
        size = max(2, round(self.rate_hz * _WINDOW_S))
        deviations = [
            _get_deviation(self.samples[at : at + size])
            for at in range(0, max(1, len(self.samples) - size + 1), size)
        ]
        least = max(deviations)
        return [least >= _LOUD and each >= least * _AUDIBLE for each in deviations]


def decode(speech: Speech) -> Levels:
    """Return the samples of a complete speech. Skip the test if soundfile cannot decode the format."""
    if speech.format == "wav":
        head = read_wav_head(speech.audio)
        assert head is not None
        if head.form[:2] == _PCM.to_bytes(2, "little") and head.form[14:16] == _BITS.to_bytes(2, "little"):
            size = head.size or len(speech.audio) - head.begins
            data = speech.audio[
                head.begins : head.begins + head.cut(min(size, len(speech.audio) - head.begins))
            ]
            return Levels(_read_samples(data)[:: head.channels], head.sample_rate_hz)
    if speech.format == "pcm":
        return Levels(_read_samples(speech.audio[: len(speech.audio) // 2 * 2]), speech.sample_rate_hz or 1)
    if speech.format in RAW:
        table = array("h", map(_read_ulaw if speech.format == "ulaw" else _read_alaw, range(256)))
        return Levels(
            array("h", map(table.__getitem__, speech.audio)), speech.sample_rate_hz or _TELEPHONE_HZ
        )
    return _decode_file(speech)


def _decode_file(speech: Speech) -> Levels:
    soundfile = pytest.importorskip("soundfile", reason=f"to decode {speech.format}: pip install soundfile")
    try:
        with soundfile.SoundFile(io.BytesIO(speech.audio)) as file:
            samples = array("h", bytes(file.buffer_read(dtype="int16")))
            return Levels(samples[:: file.channels], file.samplerate)
    except soundfile.LibsndfileError as error:
        fault = str(error)
    if speech.format in ("aac", "wav"):
        pytest.skip(f"soundfile cannot decode this {speech.format}: {fault}")
    pytest.fail(f"Speech.audio cannot be decoded as {speech.format}: {fault}")


def _read_samples(data: bytes) -> array[int]:
    samples = array("h", data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _read_ulaw(byte: int) -> int:
    byte = ~byte & 0xFF
    level = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -level if byte & 0x80 else level


def _read_alaw(byte: int) -> int:
    byte ^= 0x55
    shift, level = byte >> 4 & 7, (byte & 0x0F) << 4
    level = level + 8 if shift == 0 else level + 0x108 << shift - 1
    return level if byte & 0x80 else -level


def _get_deviation(samples: array[int]) -> float:
    """Return the standard deviation, which ignores a constant level."""
    mean = sum(samples) / max(1, len(samples))
    power = sum(map(operator.mul, samples, samples)) / max(1, len(samples))
    return math.sqrt(max(0.0, power - mean * mean))


def _get_roughness(samples: array[int]) -> float:
    """Return the mean difference of neighbouring samples, relative to the deviation of all samples."""
    steps = sum(abs(later - former) for former, later in pairwise(samples)) / max(1, len(samples))
    return steps / (_get_deviation(samples) or 1.0)
