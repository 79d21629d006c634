"""The client for voices: what an application calls to speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmcore.calls.asking import asked
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import VoiceError
from llmcore.types import Speech, VoiceInfo

__all__ = ["VoiceClient"]


class VoiceClient:
    """Speaks with the configured voice. Each method has an async twin with the prefix `a`."""

    def __init__(self, opener: Callable[[], Backend]) -> None:
        self._opener = opener

    def synthesize(self, text: str, voice: str | None = None) -> Speech:
        """Speak *text*; None takes the configured voice.

        Raises:
            VoiceError: The text is empty, the voice is not known, or what came back is not audio.
            ProviderError: The backend refused or failed.
        """
        return run(self._spoken(text, voice))

    async def asynthesize(self, text: str, voice: str | None = None) -> Speech:
        """See `synthesize`."""
        return await arun(self._spoken(text, voice))

    def list_voices(self) -> list[VoiceInfo]:
        """Return every voice on offer."""
        return list(run(self._ask("list_voices")))

    async def alist_voices(self) -> list[VoiceInfo]:
        """See `list_voices`."""
        return list(await arun(self._ask("list_voices")))

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """Return one voice, or raise `VoiceNotFound`."""
        info: VoiceInfo = run(self._ask("get_voice_info", voice_id))
        return info

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `get_voice_info`."""
        info: VoiceInfo = await arun(self._ask("get_voice_info", voice_id))
        return info

    def _spoken(self, text: str, voice: str | None) -> Act[Speech]:
        if not isinstance(text, str) or not text.strip():
            raise VoiceError(
                "there is nothing to say", code="LC904", expected="a text with at least one letter"
            )
        speech: Speech = yield from self._ask("synthesize", text, voice)
        return speech

    def _ask(self, method: str, *args: Any) -> Act[Any]:
        backend = self._opener()
        return (yield from asked(backend, backend.must(method)(*args)))
