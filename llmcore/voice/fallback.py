"""Fallback: the next voice provider, where the error allows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from llmcore.errors import BadRequest, ContentFiltered, NotAudio, ProviderError
from llmcore.log import logger
from llmcore.types import Speech
from llmcore.voice.exchange import House
from llmcore.voice.speaking import TextCall, spoken

__all__ = ["along"]


def along(texts: Sequence[TextCall], house: House) -> Generator[Any, Any, Speech]:
    """Speak with the first of *texts* that succeeds, in order: a text is spoken by one voice from beginning to end.

    The next one is tried where another provider may do better, and only before the consumer has been given a byte.
    """
    for text in texts:
        text.deadline.start()  # a stream may be read long after it was asked for
    for text in texts[:-1]:
        try:
            return (yield from spoken(text, house))
        except (ProviderError, NotAudio) as error:
            if text.begun or isinstance(error, BadRequest | ContentFiltered):
                raise
            logger(__name__).warning("voice %s failed (%s), trying the next", text.backend.name, error.code)
    return (yield from spoken(texts[-1], house))
