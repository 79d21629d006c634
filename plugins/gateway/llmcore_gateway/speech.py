"""`/v1/audio/speech`: OpenAI's request, answered by the configured voice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Final

from llmcore_gateway.error_answers import Refused
from llmcore_gateway.http_messages import Answer, Caller

if TYPE_CHECKING:
    from llmcore_gateway.gateway import Gateway

__all__ = ["SpeechCall"]

_CONTENT_TYPES: Final = {
    "aac": "audio/aac",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
    "wav": "audio/wav",
}
_FIELDS: Final = frozenset(
    {"input", "instructions", "model", "response_format", "speed", "stream_format", "voice"}
)


class SpeechCall:
    """One text to speak, read and checked."""

    api = "chat"
    """The API that determines the format of errors."""

    def __init__(self, gateway: Gateway, body: dict[str, Any], caller: Caller) -> None:
        self._gateway = gateway
        text, voice = body.get("input"), body.get("voice")
        if not isinstance(text, str) or not text.strip():
            raise Refused(
                400, "invalid_request_error", "`input` must be a text that is not empty", param="input"
            )
        if isinstance(voice, dict):
            voice = voice.get("id")
        if voice is not None and not isinstance(voice, str):
            raise Refused(400, "invalid_request_error", "`voice` must be a text", param="voice")
        if body.get("stream_format") not in (None, "audio"):
            raise Refused(
                400, "invalid_request_error", '`stream_format` must be "audio"', param="stream_format"
            )
        unknown = sorted(body.keys() - _FIELDS)
        if unknown and gateway.options.unknown_parameters == "refuse":
            raise Refused(
                400,
                "invalid_request_error",
                f"unknown parameter `{unknown[0][:100]}`",
                param=unknown[0][:100],
            )
        kind = body.get("response_format") or "mp3"
        if not isinstance(kind, str) or kind not in _CONTENT_TYPES:
            known = ", ".join(sorted(_CONTENT_TYPES))
            raise Refused(
                400,
                "invalid_request_error",
                f"`response_format` must be one of {known}",
                param="response_format",
            )
        model = body.get("model")
        if model is not None and not isinstance(model, str):
            raise Refused(400, "invalid_request_error", "`model` must be a text", param="model")
        self.model = None if model in {None, "", "default"} else model
        """The requested model, for the log; None for the configured model."""
        gateway.models.check_voice(self.model, caller)
        self.streaming = body.get("stream_format") == "audio"
        """True if the audio is streamed. Only an answer that is not streamed has the cost in its headers."""
        self.content_type = _CONTENT_TYPES[kind]
        self._text = text
        settings = {name: body[name] for name in ("instructions", "speed") if body.get(name) is not None}
        self._settings: dict[str, Any] = {
            "voice": voice,
            "model": self.model,
            "user": caller.user,
            "format": kind,
            **settings,
        }
        if caller.user is not None and gateway.options.cache == "per-key":
            self._settings["cache"] = (
                False  # the cache of speech has no namespaces that could separate the clients
            )

    def run(self) -> Answer:
        """Return the audio."""
        return self._make_answer(self._gateway.core.voice.synthesize(self._text, **self._settings))

    async def arun(self) -> Answer:
        """See `run`."""
        return self._make_answer(await self._gateway.core.voice.asynthesize(self._text, **self._settings))

    def stream(self) -> Generator[bytes, None, None]:
        """Yield the audio as it arrives."""
        yield from self._gateway.core.voice.stream(self._text, **self._settings)

    async def astream(self) -> AsyncGenerator[bytes, None]:
        """See `stream`."""
        async for piece in self._gateway.core.voice.astream(self._text, **self._settings):
            yield piece

    def _make_answer(self, speech: Any) -> Answer:
        headers = {"x-llmcore-cached": "true" if speech.cached else "false"}
        if speech.cost is not None:
            headers["x-llmcore-cost"] = f"{speech.cost:f}"
        return Answer(200, speech.audio, headers, self.content_type)
