"""The voice provider `elevenlabs`: speaks, streams, times, searches and clones, in both colours."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from typing import Any, Final, TypeVar

from llmcore.contracts.voice_answers import Ear
from llmcore.errors import LLMCoreError
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage
from llmcore_voice_tts import voices
from llmcore_voice_tts._answers import speech_from, timed_speech
from llmcore_voice_tts._errors import Errors
from llmcore_voice_tts._http import Patience, SyncSdk
from llmcore_voice_tts._loops import AsyncSdks
from llmcore_voice_tts.account import ElevenLabsOptions
from llmcore_voice_tts.offline import Offline
from llmcore_voice_tts.request import SpeechRequest, check_text, checked_voice, speech_request
from llmcore_voice_tts.voices import Ask, Plan

__all__ = ["ElevenLabsVoice"]

T = TypeVar("T")

_AS_IT_COMES: Final[Any] = {"max_retries": 0, "chunk_size": None}
_LISTS_S: Final = 60.0
_UPLOADS_S: Final = 600.0


class ElevenLabsVoice(Offline):
    """Keeps the contracts of `llmcore.contracts.voice` against ElevenLabs.

    Requests go out once: the host owns retries. Threads, tasks and event loops may share it.
    """

    def __init__(self, options: ElevenLabsOptions) -> None:
        """Prepare to ask the server of *options*; nothing is sent.

        Raises:
            ConfigError: There is no key, or the address is none.
        """
        super().__init__(options)
        self._account.check()
        self._errors = Errors(self._account)
        self._sdk = SyncSdk(self._account)
        self._sdks = AsyncSdks(self._account)

    # -- blocking

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._request(text, voice, settings)
        return _done(self._spoken(_convert(text, request), text, request))

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        request = self._request(text, voice, settings)
        failure = yield from self._streamed(_stream(text, request), request)
        if failure is not None:
            raise failure

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`."""
        request = self._request(text, voice, settings)
        return _done(self._run(_timed(text, request), request.timeout_s, request.idle_s, request.voice))

    def list_voices(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceInfo]:
        """See `VoiceProvider.list_voices`. All pages, by name."""
        return _done(self._run(voices.all_voices(), timeout_s))

    def search_voices(
        self,
        query: str | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
        timeout_s: float = _LISTS_S,
        **filters: Any,
    ) -> VoicePage:
        """See `VoiceSearch.search_voices`. The vendor's first page may hold some more voices than *limit*."""
        return _done(self._run(voices.page_of_voices(query, limit, after, filters), timeout_s))

    def get_voice_info(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return _done(self._run(voices.one_voice(voice_id), timeout_s, voice=voice_id))

    def list_voice_models(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return _done(self._run(voices.models(), timeout_s))

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
        """See `VoiceCloningProvider.clone_voice`. The consent is kept in the voice's description."""
        plan = voices.clone(name, samples, consent, description, labels)
        del samples  # a traceback shows what its frames hold
        return _done(self._run(plan, timeout_s))

    def delete_voice(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> bool:
        """See `VoiceCloningProvider.delete_voice`."""
        return _done(self._run(voices.deletion(voice_id), timeout_s, voice=voice_id))

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()
        self._sdks.close()

    def _run(
        self, plan: Plan[T], timeout_s: float | None, idle_s: float | None = None, voice: str = ""
    ) -> T | LLMCoreError:
        """Carry out a plan; failures are returned, see `voices`."""
        outcome: Any = None
        patience = Patience(timeout_s, idle_s)
        try:
            while True:
                ask = plan.send(outcome)
                patience.begun = False
                try:
                    with patience.governing():
                        outcome = ask(self._sdk.get())
                except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
                    outcome = self._errors.failed(error, patience, voice)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _spoken(self, ask: Ask, text: str, request: SpeechRequest) -> Speech | LLMCoreError:
        """Return the speech from a body of audio; failures are returned."""
        patience = Patience(request.timeout_s, request.idle_s)
        try:
            with ExitStack() as stack:
                with patience.governing():
                    answer = stack.enter_context(ask(self._sdk.get()))
                ear = Ear(answer.headers, request.format.kind, "elevenlabs")
                pieces = [ear.hear(piece) for piece in stack.enter_context(closing(answer.data))]
                return speech_from(b"".join([*pieces, ear.end()]), answer.headers, text, request)
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            return self._errors.failed(error, patience, request.voice)

    def _streamed(self, ask: Ask, request: SpeechRequest) -> Generator[bytes, None, LLMCoreError | None]:
        """Yield the audio; return what went wrong."""
        patience = Patience(request.timeout_s, request.idle_s)
        try:
            with ExitStack() as stack:
                with patience.governing():
                    answer = stack.enter_context(ask(self._sdk.get()))
                ear = Ear(answer.headers, request.format.kind, "elevenlabs")
                for piece in stack.enter_context(closing(answer.data)):
                    if heard := ear.hear(piece):
                        yield heard
                if rest := ear.end():
                    yield rest
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            return self._errors.failed(error, patience, request.voice)
        return None

    # -- asynchronous, the same line for line

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`."""
        request = self._request(text, voice, settings)
        return _done(await self._aspoken(_convert(text, request), text, request))

    async def astream_speech(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> AsyncIterator[bytes]:
        """See `VoiceStreaming.stream_speech`."""
        request = self._request(text, voice, settings)
        failures: list[LLMCoreError] = []
        async with aclosing(self._astreamed(_stream(text, request), request, failures)) as pieces:
            async for piece in pieces:
                yield piece
        if failures:
            raise failures[0]

    async def asynthesize_with_timestamps(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`."""
        request = self._request(text, voice, settings)
        return _done(
            await self._arun(_timed(text, request), request.timeout_s, request.idle_s, request.voice)
        )

    async def alist_voices(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceInfo]:
        """See `list_voices`."""
        return _done(await self._arun(voices.all_voices(), timeout_s))

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
        return _done(await self._arun(voices.page_of_voices(query, limit, after, filters), timeout_s))

    async def aget_voice_info(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return _done(await self._arun(voices.one_voice(voice_id), timeout_s, voice=voice_id))

    async def alist_voice_models(self, *, timeout_s: float = _LISTS_S) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return _done(await self._arun(voices.models(), timeout_s))

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
        plan = voices.clone(name, samples, consent, description, labels)
        del samples
        return _done(await self._arun(plan, timeout_s))

    async def adelete_voice(self, voice_id: str, *, timeout_s: float = _LISTS_S) -> bool:
        """See `VoiceCloningProvider.delete_voice`."""
        return _done(await self._arun(voices.deletion(voice_id), timeout_s, voice=voice_id))

    async def aclose(self) -> None:
        """Close the connections, those of other event loops too."""
        self._sdk.close()
        await self._sdks.aclose()

    async def _arun(
        self, plan: Plan[T], timeout_s: float | None, idle_s: float | None = None, voice: str = ""
    ) -> T | LLMCoreError:
        """See `_run`."""
        outcome: Any = None
        patience = Patience(timeout_s, idle_s)
        try:
            while True:
                ask = plan.send(outcome)
                patience.begun = False
                try:
                    with patience.governing():
                        outcome = await ask(await self._sdks.get())
                except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
                    outcome = self._errors.failed(error, patience, voice)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def _aspoken(self, ask: Ask, text: str, request: SpeechRequest) -> Speech | LLMCoreError:
        """See `_spoken`."""
        patience = Patience(request.timeout_s, request.idle_s)
        try:
            async with AsyncExitStack() as stack:
                with patience.governing():
                    answer = await stack.enter_async_context(ask(await self._sdks.get()))
                ear = Ear(answer.headers, request.format.kind, "elevenlabs")
                data = await stack.enter_async_context(aclosing(answer.data))
                pieces = [ear.hear(piece) async for piece in data]
                return speech_from(b"".join([*pieces, ear.end()]), answer.headers, text, request)
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            return self._errors.failed(error, patience, request.voice)

    async def _astreamed(
        self, ask: Ask, request: SpeechRequest, failures: list[LLMCoreError]
    ) -> AsyncGenerator[bytes]:
        """See `_streamed`; what went wrong is put into *failures*, since this generator can return nothing."""
        patience = Patience(request.timeout_s, request.idle_s)
        try:
            async with AsyncExitStack() as stack:
                with patience.governing():
                    answer = await stack.enter_async_context(ask(await self._sdks.get()))
                ear = Ear(answer.headers, request.format.kind, "elevenlabs")
                async for piece in await stack.enter_async_context(aclosing(answer.data)):
                    if heard := ear.hear(piece):
                        yield heard
                if rest := ear.end():
                    yield rest
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            failures.append(self._errors.failed(error, patience, request.voice))

    # -- what both colours share

    def _request(self, text: str, voice: str | None, settings: Mapping[str, Any]) -> SpeechRequest:
        request = speech_request(self._options, voice, settings)
        check_text(text, request)
        checked_voice(request.voice)
        return request


def _sent(text: str, request: SpeechRequest) -> dict[str, Any]:
    return {
        "voice_id": request.voice,
        "text": text,
        "model_id": request.model,
        "output_format": request.format.name,
        **request.body,
        **request.around,
    }


def _convert(text: str, request: SpeechRequest) -> Ask:
    sent = _sent(text, request)
    return lambda sdk: sdk.text_to_speech.with_raw_response.convert(**sent, request_options=_AS_IT_COMES)


def _stream(text: str, request: SpeechRequest) -> Ask:
    sent = _sent(text, request)
    return lambda sdk: sdk.text_to_speech.with_raw_response.stream(**sent, request_options=_AS_IT_COMES)


def _timed(text: str, request: SpeechRequest) -> Plan[Speech]:
    sent = _sent(text, request)
    outcome = yield lambda sdk: sdk.text_to_speech.with_raw_response.convert_with_timestamps(
        **sent, request_options=voices.ONCE
    )
    if isinstance(outcome, LLMCoreError):
        return outcome
    try:
        return timed_speech(outcome.data, outcome.headers, text, request)
    except LLMCoreError as error:
        return error


def _done(outcome: T | LLMCoreError) -> T:
    """Return the result, or raise the error that came in its place, with nothing hanging on it."""
    if isinstance(outcome, LLMCoreError):
        outcome.__cause__ = outcome.__context__ = None
        raise outcome.with_traceback(None)
    return outcome
