"""The voice `openai`: speaks whole and piece by piece, in both colours, over the connections that chats use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import httpx2

from llmcore.contracts.voice_answers import Ear, mended_wav
from llmcore.errors import BadRequest, LLMCoreError, NotFound, TextTooLong, VoiceNotFound
from llmcore.types import Speech, VoiceInfo, VoiceModel
from llmcore_openai_optimized._answers import Body
from llmcore_openai_optimized._errors import Errors
from llmcore_openai_optimized._http import Moulds, Patience, SyncClient
from llmcore_openai_optimized._loops import AsyncClients, Listening
from llmcore_openai_optimized._speech_request import SpeechRequest, check_speech, speech_request
from llmcore_openai_optimized.speech_offline import SpeechOffline, known_models, known_voice, known_voices
from llmcore_openai_optimized.speech_options import SpeechOptions, signed, speech_account

__all__ = ["OpenAIVoice"]

_OK: Final = 200
_MOST_BYTES: Final = 128_000_000
_BYTES_PER_SAMPLE: Final = 2


class OpenAIVoice(SpeechOffline):
    """Keeps the contracts of `llmcore.contracts.voice` against OpenAI, Azure, or any server of that protocol.

    Requests go out once: the host owns retries. Threads, tasks and event loops may share it.
    """

    def __init__(self, options: SpeechOptions) -> None:
        """Prepare to ask the server of *options*; nothing is sent.

        Raises:
            ConfigError: There is no key, or the options contradict one another.
        """
        super().__init__(options)
        account = signed(speech_account(options))
        self._errors = Errors(account)
        self._moulds = Moulds(account, options.headers)
        self._client = SyncClient()
        self._clients = AsyncClients()

    # -- blocking

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._request(text, voice, settings)
        pieces: list[bytes] = []
        told: dict[str, str] = {}
        failure = _drained(self._streamed(text, request, told), pieces)
        return self._speech(pieces, told, text, request, failure)

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        failure = yield from self._streamed(text, self._request(text, voice, settings), {})
        if failure is not None:
            raise failure

    def list_voices(self) -> Sequence[VoiceInfo]:
        """See `VoiceProvider.list_voices`. Those that OpenAI documents; one of your own speaks by its id."""
        return known_voices()

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return known_voice(voice_id)

    def list_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return known_models()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._clients.close()

    def _streamed(
        self, text: str, request: SpeechRequest, told: dict[str, str]
    ) -> Generator[bytes, None, LLMCoreError | None]:
        """Yield the audio and fill *told* with the headers; return what went wrong."""
        patience, response = Patience(request.timeout_s, None), None
        try:
            response = self._client.get().send(self._message(text, request, patience), stream=True)
            patience.listen(request.idle_s)
            body = Body(response, patience, self._errors)
            if response.status_code != _OK:
                for piece in response.iter_bytes():
                    body.add(piece)
                return self._refused(body, request)
            told.update(response.headers)
            ear = Ear(response.headers, request.format, "openai", _MOST_BYTES)
            for piece in response.iter_bytes():
                patience.check()
                if heard := ear.hear(piece):
                    yield heard
            if rest := ear.end():
                yield rest
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            return self._failed(error, begun=response is not None)
        finally:
            if response is not None:
                response.close()
        return None

    # -- asynchronous, the same line for line

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._request(text, voice, settings)
        told: dict[str, str] = {}
        failures: list[LLMCoreError] = []
        async with aclosing(self._astreamed(text, request, told, failures)) as heard:
            pieces = [piece async for piece in heard]
        return self._speech(pieces, told, text, request, failures[0] if failures else None)

    async def astream_speech(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> AsyncIterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        request = self._request(text, voice, settings)
        failures: list[LLMCoreError] = []
        async with aclosing(self._astreamed(text, request, {}, failures)) as pieces:
            async for piece in pieces:
                yield piece
        if failures:
            raise failures[0]

    async def alist_voices(self) -> Sequence[VoiceInfo]:
        """See `list_voices`."""
        return known_voices()

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return known_voice(voice_id)

    async def alist_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return known_models()

    async def aclose(self) -> None:
        """Close the connections, those of other event loops too."""
        self._client.close()
        await self._clients.aclose()

    async def _astreamed(
        self, text: str, request: SpeechRequest, told: dict[str, str], failures: list[LLMCoreError]
    ) -> AsyncGenerator[bytes]:
        """See `_streamed`; what went wrong is put into *failures*, since this generator can return nothing."""
        patience, response = Patience(request.timeout_s, None), None
        try:
            client = await self._clients.get()
            response = await client.send(self._message(text, request, patience), stream=True)
            patience.listen(request.idle_s)
            body = Body(response, patience, self._errors)
            if response.status_code != _OK:
                async with Listening(patience):
                    async for part in response.aiter_bytes():
                        body.add(part)
                failures.append(self._refused(body, request))
                return
            told.update(response.headers)
            ear = Ear(response.headers, request.format, "openai", _MOST_BYTES)
            pieces = response.aiter_bytes()
            while (piece := await _next(pieces, patience)) is not None:
                patience.check()
                if heard := ear.hear(piece):
                    yield heard
            if rest := ear.end():
                yield rest
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            failures.append(self._failed(error, begun=response is not None))
        finally:
            if response is not None:
                await response.aclose()

    # -- what both colours share

    def _request(self, text: str, voice: str | None, settings: Mapping[str, Any]) -> SpeechRequest:
        request = speech_request(self._options, voice, settings)
        check_speech(text, request)
        return request

    def _message(self, text: str, request: SpeechRequest, patience: Patience) -> httpx2.Request:
        return self._moulds.speech(request.model).request(request.content(text), patience)

    def _refused(self, body: Body, request: SpeechRequest) -> LLMCoreError:
        """Return the error for an answer that says no."""
        answer = body.answer()
        error = self._errors.refused(answer.status, answer.headers, answer.body, request.model)
        if isinstance(error, BadRequest) and "string_too_long" in error.message:
            return TextTooLong(error.message)
        # The vendor's validator names the field; servers of its protocol say it in words.
        about_the_voice = "'voice'" in error.message or f"voice '{request.voice}'" in error.message
        if isinstance(error, BadRequest | NotFound) and about_the_voice:
            return VoiceNotFound(
                f"openai has no voice {request.voice!r}: {error.message}", fix="llmcore voices"
            )
        return error

    def _failed(self, error: Exception, *, begun: bool) -> LLMCoreError:
        if isinstance(error, LLMCoreError):
            # The frames that it has passed hold the request, and that the key.
            error.__cause__ = error.__context__ = error.__traceback__ = None
            return error
        return self._errors.failed(error, begun=begun)

    def _speech(
        self,
        pieces: list[bytes],
        told: Mapping[str, str],
        text: str,
        request: SpeechRequest,
        failure: LLMCoreError | None,
    ) -> Speech:
        if failure is not None:
            raise failure.with_traceback(None)
        audio, duration = b"".join(pieces), None
        if request.format == "wav":
            audio, duration = mended_wav(audio, "openai")
        elif request.format == "pcm" and request.sample_rate_hz:
            duration = len(audio) / _BYTES_PER_SAMPLE / request.sample_rate_hz
        return Speech(
            audio=audio,
            format=request.format,
            sample_rate_hz=request.sample_rate_hz,
            duration_s=duration,
            characters=len(text),
            cost=self.speech_price(request.model, len(text)),
            voice=request.voice,
            model=request.model,
            provider="openai",
            request_id=told.get("x-request-id"),
        )


async def _next(pieces: AsyncIterator[bytes], patience: Patience) -> bytes | None:
    """Return the next piece, None at the end."""
    async with Listening(patience):
        try:
            return await anext(pieces)
        except StopAsyncIteration:
            return None


def _drained(pieces: Generator[bytes, None, LLMCoreError | None], into: list[bytes]) -> LLMCoreError | None:
    """Put all *pieces* into a list; return what went wrong."""
    while True:
        try:
            into.append(next(pieces))
        except StopIteration as done:
            failure: LLMCoreError | None = done.value
            return failure
