"""Merge the speeches of a text's pieces into one speech."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from llmcore.types import Speech
from llmcore.voice.audio.concatenation import check_same_format, join_audio
from llmcore.voice.pieces import DividedText

__all__ = ["merge_speeches", "sum_costs"]

_NOTHING: Final = Decimal(0)


def merge_speeches(pieces: DividedText, speeches: Sequence[Speech]) -> Speech:
    """Merge *speeches* into one speech. The speeches belong to *pieces*, in the same order.

    Raises:
        NotAudio: The formats or sample rates of the pieces differ.
    """
    if len(speeches) == 1:
        only = speeches[0]
        return msgspec.structs.replace(only, alignment=_merge_alignments(pieces, speeches, only.duration_s))
    check_same_format([(speech.format, speech.sample_rate_hz) for speech in speeches])
    first, duration_s = speeches[0], _sum_durations(speech.duration_s for speech in speeches)
    return msgspec.structs.replace(
        first,
        audio=join_audio(first.format, [speech.audio for speech in speeches]),
        duration_s=duration_s,
        characters=sum(speech.characters for speech in speeches),
        billed_characters=sum(speech.billed_characters for speech in speeches),
        cost=sum_costs(speech.cost for speech in speeches),
        saved=sum_costs(speech.saved for speech in speeches if speech.cached),
        cached=all(speech.cached for speech in speeches),
        alignment=_merge_alignments(pieces, speeches, duration_s),
        request_id=speeches[-1].request_id,
    )


def _merge_alignments(
    pieces: DividedText, speeches: Sequence[Speech], duration_s: float | None
) -> tuple[tuple[str, float, float], ...]:
    """Return the start and end of each character of the text. A character between two pieces has no duration.

    A vendor's times are less exact than the length of its audio. The times are therefore clamped: no
    character starts before the previous character has ended, and no character ends after the speech.
    """
    if not any(speech.alignment for speech in speeches):
        return ()
    times: list[tuple[str, float, float]] = []
    begins = 0.0
    for part, text, speech in zip(pieces.parts, pieces.texts, speeches, strict=True):
        ends = begins + (speech.duration_s or 0.0)
        lead = len(part.rstrip()) - len(text)
        times += [(character, begins, begins) for character in part[:lead]]
        times += [(character, begins + start, begins + end) for character, start, end in speech.alignment]
        times += [(character, ends, ends) for character in part[lead + len(text) :]]
        begins = ends
    whole: list[tuple[str, float, float]] = []
    latest, last = 0.0, math.inf if duration_s is None else duration_s
    for character, start, end in times:
        starts = min(last, max(latest, start))
        latest = min(last, max(starts, end))
        whole.append((character, starts, latest))
    return tuple(whole)


def _sum_durations(seconds: Iterable[float | None]) -> float | None:
    total = 0.0
    for each in seconds:
        if each is None:
            return None
        total += each
    return total


def sum_costs(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum; None if an amount is unknown or the list is empty."""
    known = list(amounts)
    if not known or None in known:
        return None
    return sum((amount for amount in known if amount is not None), _NOTHING)
