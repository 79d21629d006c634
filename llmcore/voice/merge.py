"""The speeches of a text's pieces as the speech of the text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from llmcore.types import Speech
from llmcore.voice.audio.joining import fits, joined
from llmcore.voice.speaker import Pieces

__all__ = ["merged", "money"]

_NOTHING: Final = Decimal(0)


def merged(pieces: Pieces, speeches: Sequence[Speech]) -> Speech:
    """Return one speech of *speeches*, which say *pieces* in order.

    Raises:
        NotAudio: Their audio does not fit together.
    """
    if len(speeches) == 1:
        only = speeches[0]
        return msgspec.structs.replace(only, alignment=_alignment(pieces, speeches, only.duration_s))
    fits([(speech.format, speech.sample_rate_hz) for speech in speeches])
    first, duration_s = speeches[0], _sum(speech.duration_s for speech in speeches)
    return msgspec.structs.replace(
        first,
        audio=joined(first.format, [speech.audio for speech in speeches]),
        duration_s=duration_s,
        characters=sum(speech.characters for speech in speeches),
        billed_characters=sum(speech.billed_characters for speech in speeches),
        cost=money(speech.cost for speech in speeches),
        saved=money(speech.saved for speech in speeches if speech.cached),
        cached=all(speech.cached for speech in speeches),
        alignment=_alignment(pieces, speeches, duration_s),
        request_id=speeches[-1].request_id,
    )


def _alignment(
    pieces: Pieces, speeches: Sequence[Speech], duration_s: float | None
) -> tuple[tuple[str, float, float], ...]:
    """Return when each character of the text is spoken; what stands between pieces takes no time.

    A vendor's times are not as exact as the length of its audio: no character begins before the one before it has ended,
    and none ends after the speech.
    """
    if not any(speech.alignment for speech in speeches):
        return ()
    told: list[tuple[str, float, float]] = []
    begins = 0.0
    for part, said, speech in zip(pieces.parts, pieces.said, speeches, strict=True):
        ends = begins + (speech.duration_s or 0.0)
        lead = len(part.rstrip()) - len(said)
        told += [(character, begins, begins) for character in part[:lead]]
        told += [(character, begins + start, begins + end) for character, start, end in speech.alignment]
        told += [(character, ends, ends) for character in part[lead + len(said) :]]
        begins = ends
    whole: list[tuple[str, float, float]] = []
    latest, last = 0.0, math.inf if duration_s is None else duration_s
    for character, start, end in told:
        starts = min(last, max(latest, start))
        latest = min(last, max(starts, end))
        whole.append((character, starts, latest))
    return tuple(whole)


def _sum(seconds: Iterable[float | None]) -> float | None:
    total = 0.0
    for each in seconds:
        if each is None:
            return None
        total += each
    return total


def money(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum; None where one is not known, or there is none."""
    known = list(amounts)
    if not known or None in known:
        return None
    return sum((amount for amount in known if amount is not None), _NOTHING)
