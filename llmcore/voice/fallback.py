"""Fallback: try the next voice provider after an error if another provider may succeed."""

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
from llmcore.log import get_logger
from llmcore.pipeline import Services
from llmcore.types import Speech
from llmcore.voice.text_call import TextCall, speak

__all__ = ["with_fallback"]


def with_fallback(texts: Sequence[TextCall], services: Services) -> Generator[Any, Any, Speech]:
    """Try *texts* in order until one succeeds, and return the speech. They are the same text for different providers.

    One provider speaks the whole text. The next provider is tried only if it may succeed and the consumer has not
    received a byte. If all providers fail, the error of the first provider is raised, because the application chose
    that provider. The notes of this error report the errors of all other providers.
    """
    for text in texts:
        text.deadline.start()  # restart: the reader may begin to read a stream long after calling `stream`
    first: LLMCoreError | None = None
    try:
        for text in texts:
            try:
                return (yield from speak(text, services))
            except LLMCoreError as error:
                if text.has_begun or not _can_try_next(error, chosen=first is None):
                    raise
                if text is not texts[-1]:
                    get_logger(__name__).warning(
                        "voice %s failed (%s), trying the next", text.backend.name, error.code
                    )
                if first is None:
                    first = error
                else:
                    first.notes += (f"the fallback `{text.backend.name}` failed too: {error.message}",)
        if first is None:
            raise PluginError("no voice provider is configured", expected="[voice] provider")
        raise first
    finally:
        first = None  # break the cycle: the frame and the traceback would keep each other alive


def _can_try_next(error: LLMCoreError, *, chosen: bool) -> bool:
    """Return whether another provider may be tried after *error*.

    If *chosen*, the caller chose this provider and must correct an invalid request. A fallback provider that
    cannot serve the request is skipped, because the request was not written for that provider.
    """
    if isinstance(error, ContentFiltered):
        return False
    if chosen:
        return isinstance(error, ProviderError | NotAudio) and not isinstance(error, BadRequest)
    return isinstance(error, ProviderError | VoiceError | PluginError | ConfigError)
