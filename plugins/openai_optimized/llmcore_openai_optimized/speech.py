"""The voice `openai`: complete and streamed speech, sync and async."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from llmcore.errors import BadRequest, LLMCoreError, NotFound, TextTooLong, VoiceNotFound
from llmcore.support.sending import track_sending
from llmcore.support.voice_answers import AudioValidator, check_wav
from llmcore.types import Speech, VoiceInfo, VoiceModel
from llmcore_openai_optimized.answers import Answer, Body, is_success
from llmcore_openai_optimized.error_report import is_error, parse_body
from llmcore_openai_optimized.errors import Errors
from llmcore_openai_optimized.http import RequestTemplates, RequestTimeout, hold_async_clients, hold_client
from llmcore_openai_optimized.options import SpeechOptions
from llmcore_openai_optimized.read_timeout import ReadTimeout
from llmcore_openai_optimized.request import AsyncResponse, Request, SyncResponse
from llmcore_openai_optimized.speech_account import make_speech_account, validate_account
from llmcore_openai_optimized.speech_offline import (
    SpeechOffline,
    find_documented_voice,
    known_models,
    known_voices,
)
from llmcore_openai_optimized.speech_request import SpeechRequest, check_speech, make_speech_request
from llmcore_openai_optimized.transport import Route

__all__ = ["OpenAIVoice"]

_MOST_BYTES: Final = 128_000_000
_BYTES_PER_SAMPLE: Final = 2


class OpenAIVoice(SpeechOffline):
    """Implement the contracts of `llmcore.contracts.voice` for OpenAI, Azure and compatible servers.

    The voice sends each request once, because the host does the retries. Threads, tasks and event loops may share a
    voice.
    """

    keeps_timeouts = True

    def __init__(self, options: SpeechOptions) -> None:
        """Prepare requests to the server of *options*; send nothing.

        Raises:
            ConfigError: The key is missing, the options contradict each other, or a proxy or certificate from the
                environment is invalid.
        """
        super().__init__(options)
        account = validate_account(make_speech_account(options))
        route = Route(account.base_url)
        self._errors = Errors(account, route.shown_proxy)
        self._templates = RequestTemplates(account, options.headers)
        self._client = hold_client(route)
        self._clients = hold_async_clients(route)

    # -- blocking

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._make_request(text, voice, settings)
        pieces: list[bytes] = []
        headers: dict[str, str] = {}
        failure = _collect(self._stream(text, request, headers), pieces)
        return self._make_speech(pieces, headers, text, request, failure)

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        failure = yield from self._stream(text, self._make_request(text, voice, settings), {})
        if failure is not None:
            raise failure

    def list_voices(self) -> Sequence[VoiceInfo]:
        """See `VoiceProvider.list_voices`. The method lists only documented voices; use a custom voice by its id."""
        return known_voices()

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return find_documented_voice(voice_id)

    def list_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return known_models()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._clients.close()

    def _stream(
        self, text: str, request: SpeechRequest, headers: dict[str, str]
    ) -> Generator[bytes, None, LLMCoreError | None]:
        """Yield the audio and put the response headers into *headers*; return the error, if any."""
        timeout, response = RequestTimeout(request.timeout_s, None), None
        try:
            response = self._client.get().send(self._make_message(text, request, timeout))
            timeout.set_idle(request.idle_s)
            body = Body(response, timeout, self._errors)
            if not is_success(response.status_code) or _is_json(response):
                for piece in response.iter_bytes():
                    body.add(piece)
                odd = self._read_odd(body.finish(), request)
                if not isinstance(odd, bytes):
                    return odd
                headers.update(response.headers)
                yield odd
                return None
            headers.update(response.headers)
            validator = AudioValidator(response.headers, request.format, "openai", _MOST_BYTES)
            for piece in response.iter_bytes():
                timeout.check()
                if checked := validator.feed(piece):
                    yield checked
            if rest := validator.end():
                yield rest
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            return self._make_failure(error, begun=response is not None)
        finally:
            if response is not None:
                response.close()
        return None

    # -- asynchronous: the same steps

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._make_request(text, voice, settings)
        headers: dict[str, str] = {}
        failures: list[LLMCoreError] = []
        async with aclosing(self._astream(text, request, headers, failures)) as pieces_read:
            pieces = [piece async for piece in pieces_read]
        return self._make_speech(pieces, headers, text, request, failures[0] if failures else None)

    async def astream_speech(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> AsyncIterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        request = self._make_request(text, voice, settings)
        failures: list[LLMCoreError] = []
        async with aclosing(self._astream(text, request, {}, failures)) as pieces:
            async for piece in pieces:
                yield piece
        if failures:
            raise failures[0]

    async def alist_voices(self) -> Sequence[VoiceInfo]:
        """See `list_voices`."""
        return known_voices()

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return find_documented_voice(voice_id)

    async def alist_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return known_models()

    async def aclose(self) -> None:
        """Close all connections, including those of other event loops."""
        self._client.close()
        await self._clients.aclose()

    async def _astream(
        self, text: str, request: SpeechRequest, headers: dict[str, str], failures: list[LLMCoreError]
    ) -> AsyncGenerator[bytes]:
        """See `_stream`. Append the error to *failures*, because an asynchronous generator cannot return it."""
        timeout, response = RequestTimeout(request.timeout_s, None), None
        try:
            client = await self._clients.get()
            response = await client.send(self._make_message(text, request, timeout))
            timeout.set_idle(request.idle_s)
            body = Body(response, timeout, self._errors)
            if not is_success(response.status_code) or _is_json(response):
                async with ReadTimeout(timeout):
                    async for part in response.aiter_bytes():
                        body.add(part)
                odd = self._read_odd(body.finish(), request)
                if not isinstance(odd, bytes):
                    failures.append(odd)
                    return
                headers.update(response.headers)
                yield odd
                return
            headers.update(response.headers)
            validator = AudioValidator(response.headers, request.format, "openai", _MOST_BYTES)
            pieces = response.aiter_bytes()
            while (piece := await _read_next(pieces, timeout)) is not None:
                timeout.check()
                if checked := validator.feed(piece):
                    yield checked
            if rest := validator.end():
                yield rest
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            failures.append(self._make_failure(error, begun=response is not None))
        finally:
            if response is not None:
                await response.aclose()

    # -- shared by sync and async

    def _make_request(self, text: str, voice: str | None, settings: Mapping[str, Any]) -> SpeechRequest:
        track_sending()  # before the checks: if a check refuses the request, the host knows that nothing was sent
        request = make_speech_request(self._options, voice, settings)
        check_speech(text, request)
        return request

    def _make_message(self, text: str, request: SpeechRequest, timeout: RequestTimeout) -> Request:
        return self._templates.get_speech(request.model).request(request.make_content(text), timeout)

    def _read_odd(self, answer: Answer, request: SpeechRequest) -> bytes | LLMCoreError:
        """Return the error in an answer that has an error status or the type JSON.

        If the server sent audio with the type JSON by mistake, return the audio.
        """
        if not is_success(answer.status):
            return self._make_refusal(answer, request)
        document = parse_body(answer.body)
        if is_error(document):
            return self._errors.from_document(document, answer.headers, request.model)
        try:
            validator = AudioValidator(answer.headers, request.format, "openai", _MOST_BYTES)
            return validator.feed(answer.body) + validator.end()
        except LLMCoreError as error:
            return self._make_failure(error, begun=True)

    def _make_refusal(self, answer: Answer, request: SpeechRequest) -> LLMCoreError:
        """Return the error for an answer with an error status."""
        error = self._errors.from_status(answer.status, answer.headers, answer.body, request.model)
        if isinstance(error, BadRequest) and "string_too_long" in error.message:
            return TextTooLong(error.message)
        # OpenAI's message names the field 'voice'; messages of compatible servers contain the name of the voice.
        about_the_voice = "'voice'" in error.message or f"voice '{request.voice}'" in error.message
        if isinstance(error, BadRequest | NotFound) and about_the_voice:
            return VoiceNotFound(
                f"openai has no voice {request.voice!r}: {error.message}", fix="llmcore voices"
            )
        return error

    def _make_failure(self, error: Exception, *, begun: bool) -> LLMCoreError:
        if isinstance(error, LLMCoreError):
            # Remove the traceback, because its frames hold the request with the key.
            error.__cause__ = error.__context__ = error.__traceback__ = None
            return error
        return self._errors.translate_error(error, begun=begun)

    def _make_speech(
        self,
        pieces: list[bytes],
        headers: Mapping[str, str],
        text: str,
        request: SpeechRequest,
        failure: LLMCoreError | None,
    ) -> Speech:
        if failure is not None:
            raise failure.with_traceback(None)
        audio, duration = b"".join(pieces), None
        if request.format == "wav":
            audio, duration = check_wav(audio, "openai")
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
            request_id=headers.get("x-request-id"),
        )


async def _read_next(pieces: AsyncIterator[bytes], limit: RequestTimeout) -> bytes | None:
    """Return the next piece; None at the end."""
    async with ReadTimeout(limit):
        try:
            return await anext(pieces)
        except StopAsyncIteration:
            return None


def _collect(pieces: Generator[bytes, None, LLMCoreError | None], into: list[bytes]) -> LLMCoreError | None:
    """Append all *pieces* to *into*; return the error, if any."""
    while True:
        try:
            into.append(next(pieces))
        except StopIteration as done:
            failure: LLMCoreError | None = done.value
            return failure


def _is_json(response: SyncResponse | AsyncResponse) -> bool:
    return "json" in response.headers.get("content-type", "")
