"""The output formats of the vendor."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final, cast

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import AudioFormat

__all__ = ["EXPECTED", "NAMES", "Format", "get_format"]

_SHORT: Final = {
    "alaw": "alaw_8000",
    "mp3": "mp3_44100_128",
    "opus": "opus_48000_128",
    "pcm": "pcm_24000",
    "ulaw": "ulaw_8000",
    "wav": "wav_24000",
}
"""Format of llmcore -> name of the vendor's format. Every plan of the vendor includes these formats."""

_RATES: Final = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
_KBPS: Final = (32, 64, 96, 128, 192)
_ALL: Final = frozenset(
    [f"{kind}_{rate}" for kind in ("pcm", "wav") for rate in _RATES]
    + [f"mp3_44100_{kbps}" for kbps in _KBPS]
    + [f"opus_48000_{kbps}" for kbps in _KBPS]
    + ["mp3_22050_32", "mp3_24000_48", "ulaw_8000", "alaw_8000"]
)
NAMES: Final = (*_SHORT, *sorted(_ALL))
EXPECTED: Final = f"{', '.join(_SHORT)}, or a name of the vendor such as mp3_44100_192"
_BYTES_PER_SAMPLE: Final = {"pcm": 2, "ulaw": 1, "alaw": 1}


class Format(msgspec.Struct, frozen=True):
    """One output format."""

    name: str
    """The name at the vendor."""
    kind: AudioFormat
    sample_rate_hz: int

    def compute_duration(self, audio: bytes) -> float | None:
        """Return the duration of raw *audio*; None for other formats."""
        width = _BYTES_PER_SAMPLE.get(self.kind)
        return None if width is None else len(audio) / width / self.sample_rate_hz


def get_format(name: object) -> Format:
    """Return the format *name*, a name of llmcore or of the vendor.

    Raises:
        BadRequest: The format is unknown.
    """
    full = _SHORT.get(name, name) if isinstance(name, str) else ""
    if full not in _ALL:
        near = get_close_matches(str(name), NAMES, n=1)
        raise BadRequest(
            f"unknown format {name!r} for voices of elevenlabs",
            provider="elevenlabs",
            expected=EXPECTED,
            suggestion=near[0] if near else None,
        )
    kind, rate, *_ = full.split("_")
    # The cast is correct, because the vendor and llmcore use the same names for kinds of formats.
    return Format(full, cast("AudioFormat", kind), int(rate))
