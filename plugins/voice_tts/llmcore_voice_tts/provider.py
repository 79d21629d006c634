"""The voice provider `elevenlabs`: speech, streams, timestamps, voice search and cloning, sync and async."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from typing import Any, Final, TypeVar

from llmcore.contracts import is_interrupt
from llmcore.errors import LLMCoreError
from llmcore.support.http import LoopClients, RequestDeadline, ThreadClient
from llmcore.support.sending import track_sending
from llmcore.support.voice_answers import AudioValidator
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage
from llmcore_voice_tts import voices
from llmcore_voice_tts.answers import make_speech, make_timed_speech
from llmcore_voice_tts.errors import Errors
from llmcore_voice_tts.http import DEFAULT_S, find_route, make_async_sdk, make_sdk
from llmcore_voice_tts.offline import Offline
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.request import SpeechRequest, check_text, check_voice, make_speech_request
from llmcore_voice_tts.voices import Ask, Plan

__all__ = ["ElevenLabsVoice"]

T = TypeVar("T")

_AS_IT_COMES: Final[Any] = {"max_retries": 0, "chunk_size": None}
_LISTS_S: Final = 60.0
_UPLOADS_S: Final = 600.0


class ElevenLabsVoice(Offline):
    """Implement the contracts of `llmcore.contracts.voice` for ElevenLabs.

    The voice sends each request once, because the host does the retries. Threads, tasks and event loops may share a
    voice.
    """

    keeps_timeouts = True

    def __init__(self, options: ElevenLabsOptions) -> None:
        """Prepare requests to the server of *options*; send nothing.

        Raises:
            ConfigError: The key is missing, the address is invalid, or a proxy or certificate from the environment
                is invalid.
        """
        super().__init__(options)
        self._account.check()
        proxy = find_route(self._account.base_url)
        self._errors = Errors(self._account, proxy.shown if proxy is not None else "")
        account = self._account
        self._sdk = ThreadClient(lambda: make_sdk(account), lambda sdk: sdk.web.close())
        self._sdks = LoopClients(lambda: make_async_sdk(account), lambda sdk: sdk.web.aclose())

    # -- blocking

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._make_request(text, voice, settings)
        return _unwrap(self._speak(_make_convert(text, request), text, request))

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        request = self._make_request(text, voice, settings)
        failure = yield from self._stream_body(_make_stream(text, request), request)
        if failure is not None:
            raise failure

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`."""
        request = self._make_request(text, voice, settings)
        return _unwrap(
            self._run(_convert_timed(text, request), request.timeout_s, request.idle_s, request.voice)
        )

    def list_voices(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceInfo]:
        """See `VoiceProvider.list_voices`. The method reads all pages, sorted by the names of the voices."""
        return _unwrap(self._run(voices.list_voices(), timeout_s))

    def search_voices(
        self,
        query: str | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
        timeout_s: float = _LISTS_S,
        **filters: Any,
    ) -> VoicePage:
        """See `VoiceSearch.search_voices`. The vendor's first page may have more voices than *limit*."""
        return _unwrap(self._run(voices.search_voices(query, limit, after, filters), timeout_s))

    def get_voice_info(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return _unwrap(self._run(voices.get_voice(voice_id), timeout_s, voice=voice_id))

    def list_voice_models(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return _unwrap(self._run(voices.list_models(), timeout_s))

    def clone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        timeout_s: float = _UPLOADS_S,
    ) -> VoiceInfo:
        """See `VoiceCloningProvider.clone_voice`. The description of the voice includes the consent."""
        plan = voices.clone_voice(name, samples, consent, description, labels)
        del samples  # otherwise a traceback would show the recordings, because it shows local variables
        return _unwrap(self._run(plan, timeout_s))

    def delete_voice(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> bool:
        """See `VoiceCloningProvider.delete_voice`."""
        return _unwrap(self._run(voices.delete_voice(voice_id), timeout_s, voice=voice_id))

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()
        self._sdks.close()

    def _run(
        self, plan: Plan[T], timeout_s: float | None, idle_s: float | None = None, voice: str = ""
    ) -> T | LLMCoreError:
        """Carry out the requests of *plan*; return its result or error. The module `voices` explains plans."""
        outcome: Any = None
        deadline = RequestDeadline(timeout_s, idle_s, default_s=DEFAULT_S)
        try:
            while True:
                ask = plan.send(outcome)
                deadline.begun = False
                try:
                    with deadline.apply():
                        outcome = ask(self._sdk.get().client)
                except BaseException as error:
                    if is_interrupt(error):
                        raise
                    outcome = self._errors.translate_error(error, deadline, voice)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _speak(self, ask: Ask, text: str, request: SpeechRequest) -> Speech | LLMCoreError:
        """Return the speech from an audio body, or the error."""
        deadline = RequestDeadline(request.timeout_s, request.idle_s, default_s=DEFAULT_S)
        try:
            with ExitStack() as stack:
                with deadline.apply():
                    answer = stack.enter_context(ask(self._sdk.get().client))
                validator = AudioValidator(answer.headers, request.format.kind, "elevenlabs")
                pieces = [validator.feed(piece) for piece in stack.enter_context(closing(answer.data))]
                return make_speech(b"".join([*pieces, validator.end()]), answer.headers, text, request)
        except BaseException as error:
            if is_interrupt(error):
                raise
            return self._errors.translate_error(error, deadline, request.voice)

    def _stream_body(self, ask: Ask, request: SpeechRequest) -> Generator[bytes, None, LLMCoreError | None]:
        """Yield the audio; return the error, if any."""
        deadline = RequestDeadline(request.timeout_s, request.idle_s, default_s=DEFAULT_S)
        try:
            with ExitStack() as stack:
                with deadline.apply():
                    answer = stack.enter_context(ask(self._sdk.get().client))
                validator = AudioValidator(answer.headers, request.format.kind, "elevenlabs")
                for piece in stack.enter_context(closing(answer.data)):
                    if checked := validator.feed(piece):
                        yield checked
                if rest := validator.end():
                    yield rest
        except BaseException as error:
            if is_interrupt(error):
                raise
            return self._errors.translate_error(error, deadline, request.voice)
        return None

    # -- asynchronous: the same steps

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._make_request(text, voice, settings)
        return _unwrap(await self._aspeak(_make_convert(text, request), text, request))

    async def astream_speech(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> AsyncIterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        request = self._make_request(text, voice, settings)
        failures: list[LLMCoreError] = []
        async with aclosing(self._astream_body(_make_stream(text, request), request, failures)) as pieces:
            async for piece in pieces:
                yield piece
        if failures:
            raise failures[0]

    async def asynthesize_with_timestamps(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`."""
        request = self._make_request(text, voice, settings)
        return _unwrap(
            await self._arun(_convert_timed(text, request), request.timeout_s, request.idle_s, request.voice)
        )

    async def alist_voices(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceInfo]:
        """See `list_voices`."""
        return _unwrap(await self._arun(voices.list_voices(), timeout_s))

    async def asearch_voices(
        self,
        query: str | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
        timeout_s: float = _LISTS_S,
        **filters: Any,
    ) -> VoicePage:
        """See `search_voices`."""
        return _unwrap(await self._arun(voices.search_voices(query, limit, after, filters), timeout_s))

    async def aget_voice_info(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return _unwrap(await self._arun(voices.get_voice(voice_id), timeout_s, voice=voice_id))

    async def alist_voice_models(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return _unwrap(await self._arun(voices.list_models(), timeout_s))

    async def aclone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        timeout_s: float = _UPLOADS_S,
    ) -> VoiceInfo:
        """See `clone_voice`."""
        plan = voices.clone_voice(name, samples, consent, description, labels)
        del samples
        return _unwrap(await self._arun(plan, timeout_s))

    async def adelete_voice(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> bool:
        """See `VoiceCloningProvider.delete_voice`."""
        return _unwrap(await self._arun(voices.delete_voice(voice_id), timeout_s, voice=voice_id))

    async def aclose(self) -> None:
        """Close all connections, including those of other event loops."""
        self._sdk.close()
        await self._sdks.aclose()

    async def _arun(
        self, plan: Plan[T], timeout_s: float | None, idle_s: float | None = None, voice: str = ""
    ) -> T | LLMCoreError:
        """See `_run`."""
        outcome: Any = None
        deadline = RequestDeadline(timeout_s, idle_s, default_s=DEFAULT_S)
        try:
            while True:
                ask = plan.send(outcome)
                deadline.begun = False
                try:
                    with deadline.apply():
                        outcome = await ask((await self._sdks.get()).client)
                except BaseException as error:
                    if is_interrupt(error):
                        raise
                    outcome = self._errors.translate_error(error, deadline, voice)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def _aspeak(self, ask: Ask, text: str, request: SpeechRequest) -> Speech | LLMCoreError:
        """See `_speak`."""
        deadline = RequestDeadline(request.timeout_s, request.idle_s, default_s=DEFAULT_S)
        try:
            async with AsyncExitStack() as stack:
                with deadline.apply():
                    answer = await stack.enter_async_context(ask((await self._sdks.get()).client))
                validator = AudioValidator(answer.headers, request.format.kind, "elevenlabs")
                data = await stack.enter_async_context(aclosing(answer.data))
                pieces = [validator.feed(piece) async for piece in data]
                return make_speech(b"".join([*pieces, validator.end()]), answer.headers, text, request)
        except BaseException as error:
            if is_interrupt(error):
                raise
            return self._errors.translate_error(error, deadline, request.voice)

    async def _astream_body(
        self, ask: Ask, request: SpeechRequest, failures: list[LLMCoreError]
    ) -> AsyncGenerator[bytes]:
        """See `_stream_body`. Append the error to *failures*, because an asynchronous generator cannot return it."""
        deadline = RequestDeadline(request.timeout_s, request.idle_s, default_s=DEFAULT_S)
        try:
            async with AsyncExitStack() as stack:
                with deadline.apply():
                    answer = await stack.enter_async_context(ask((await self._sdks.get()).client))
                validator = AudioValidator(answer.headers, request.format.kind, "elevenlabs")
                async for piece in await stack.enter_async_context(aclosing(answer.data)):
                    if checked := validator.feed(piece):
                        yield checked
                if rest := validator.end():
                    yield rest
        except BaseException as error:
            if is_interrupt(error):
                raise
            failures.append(self._errors.translate_error(error, deadline, request.voice))

    # -- shared by sync and async

    def _make_request(self, text: str, voice: str | None, settings: Mapping[str, Any]) -> SpeechRequest:
        track_sending()  # before the checks, so that a refused request counts as not sent
        request = make_speech_request(self._options, voice, settings)
        check_text(text, request)
        check_voice(request.voice)
        return request


def _make_arguments(text: str, request: SpeechRequest) -> dict[str, Any]:
    return {
        "voice_id": request.voice,
        "text": text,
        "model_id": request.model,
        "output_format": request.format.name,
        **request.body,
        **request.context,
    }


def _make_convert(text: str, request: SpeechRequest) -> Ask:
    sent = _make_arguments(text, request)
    return lambda sdk: sdk.text_to_speech.with_raw_response.convert(**sent, request_options=_AS_IT_COMES)


def _make_stream(text: str, request: SpeechRequest) -> Ask:
    sent = _make_arguments(text, request)
    return lambda sdk: sdk.text_to_speech.with_raw_response.stream(**sent, request_options=_AS_IT_COMES)


def _convert_timed(text: str, request: SpeechRequest) -> Plan[Speech]:
    sent = _make_arguments(text, request)
    outcome = yield lambda sdk: sdk.text_to_speech.with_raw_response.convert_with_timestamps(
        **sent, request_options=voices.ONCE
    )
    if isinstance(outcome, LLMCoreError):
        return outcome
    try:
        return make_timed_speech(outcome.data, outcome.headers, text, request)
    except LLMCoreError as error:
        return error


def _unwrap(outcome: T | LLMCoreError) -> T:
    """Return the result, or raise the error without context and traceback."""
    if isinstance(outcome, LLMCoreError):
        outcome.__cause__ = outcome.__context__ = None
        raise outcome.with_traceback(None)
    return outcome
