"""Fallback: the next voice provider, where the error allows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from llmcore.errors import (
    BadRequest,
    ConfigError,
    ContentFiltered,
    LLMCoreError,
    NotAudio,
    PluginError,
    ProviderError,
    VoiceError,
)
from llmcore.log import logger
from llmcore.types import Speech
from llmcore.voice.exchange import House
from llmcore.voice.speaking import TextCall, spoken

__all__ = ["along"]


def along(texts: Sequence[TextCall], house: House) -> Generator[Any, Any, Speech]:
    """Speak with the first of *texts* that succeeds, in order: a text is spoken by one voice from beginning to end.

    The next one is tried where another provider may do better, and only before the consumer has been given a byte. Where
    none speaks, the error of the first is raised: it is of what the application asked for. The others stand in its notes.
    """
    for text in texts:
        text.deadline.start()  # a stream may be read long after it was asked for
    first: LLMCoreError | None = None
    try:
        for text in texts:
            try:
                return (yield from spoken(text, house))
            except LLMCoreError as error:
                if text.begun or not _lets_another(error, chosen=first is None):
                    raise
                if text is not texts[-1]:
                    logger(__name__).warning(
                        "voice %s failed (%s), trying the next", text.backend.name, error.code
                    )
                if first is None:
                    first = error
                else:
                    first.notes += (f"nor did the fallback `{text.backend.name}` speak: {error.message}",)
        if first is None:
            raise PluginError("no voice was asked", expected="[voice] provider")
        raise first
    finally:
        first = None  # else the frame and the traceback would keep each other alive


def _lets_another(error: LLMCoreError, *, chosen: bool) -> bool:
    """Return whether another provider may speak in place of the one that the caller chose, or of a fallback.

    What does not fit the chosen one is the caller's to mend. A fallback that cannot do it is passed over: the caller did
    not have it in mind.
    """
    if isinstance(error, ContentFiltered):
        return False
    if chosen:
        return isinstance(error, ProviderError | NotAudio) and not isinstance(error, BadRequest)
    return isinstance(error, ProviderError | VoiceError | PluginError | ConfigError)
