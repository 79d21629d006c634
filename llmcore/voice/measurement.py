"""Measure a text that a batch would speak: characters, cost, and whether the cache has the speech. Nothing is sent."""

from __future__ import annotations

from decimal import Decimal

from llmcore.calls.steps import Act
from llmcore.errors import PriceUnknown
from llmcore.pipeline import Services
from llmcore.pipeline.measurement import Measurement
from llmcore.voice.kind import SPEECH, find_kept
from llmcore.voice.quote import SpeechQuote
from llmcore.voice.text_call import TextCall, divide

__all__ = ["measure_speech"]


def measure_speech(text: TextCall, services: Services) -> Act[Measurement]:
    """Measure *text*. Only the characters of pieces that are not in the cache are counted and priced.

    Raises:
        VoiceError: The text cannot be divided into pieces that the model accepts.
    """
    yield from divide(text)
    characters = 0
    for call in text.pieces:
        if (yield from find_kept(call, services)) is None:
            characters += len(call.text)
    try:
        quote = SpeechQuote(text.pieces[0], services.prices, characters)
        cost: Decimal | None = quote.compute_maximum(exact=True)
    except PriceUnknown:
        cost = None
    return Measurement(
        key=tuple(call.key or call.text for call in text.pieces),
        charge=SPEECH.charge(text.pieces[0]),
        is_cached=not characters,
        costs=(cost, cost, cost),
        characters=characters,
    )
