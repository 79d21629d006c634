"""The voice provider `espeak`."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from llmcore.errors import VoiceError
from llmcore.support import threads
from llmcore.support.ssml import find_ssml
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoiceTraits
from llmcore_voice_espeak.deadline import Deadline, run_in_thread
from llmcore_voice_espeak.encoding import STREAM_HEAD, encode_audio
from llmcore_voice_espeak.offline import MODEL, RATE_HZ, EspeakOffline, SpeechSettings
from llmcore_voice_espeak.options import EspeakOptions
from llmcore_voice_espeak.pool import get_shared_pool
from llmcore_voice_espeak.ssml import check_ssml
from llmcore_voice_espeak.streaming import stream_samples
from llmcore_voice_espeak.synthesis import Word, speak
from llmcore_voice_espeak.voices import KnownVoice, find, find_by_language, load_voices

__all__ = ["EspeakVoice"]

T = TypeVar("T")

_SILENCE: Final = bytes(2 * RATE_HZ // 20)
"""0.05 s of silence, for a text without sound, such as an emoji that the library does not know."""
_END: Final = object()


class EspeakVoice:
    """Implement `VoiceProvider`, `VoiceStreaming`, `VoiceTimestamps`, `VoiceModels` and `VoiceOffline`, sync and async.

    The same text always gives the same audio. The C library speaks several hundred times faster than real time.
    It runs in worker processes that all voices of a process share, so a crash of the library ends only a worker.
    """

    keeps_timeouts = True

    def __init__(
        self, options: EspeakOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._offline = EspeakOffline(options or EspeakOptions())
        self._clock = clock

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`. The settings are `format`, `speed`, `pitch` and `language`."""
        return self._synthesize(text, voice, settings, Deadline(settings, self._clock))[0]

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `synthesize`. A cancelled call ends its worker."""
        deadline = Deadline(settings, self._clock)
        return (await _run_in_thread(lambda: self._synthesize(text, voice, settings, deadline), deadline))[0]

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`.

        The library reports only the times of words. So the time of a word is divided evenly among its characters.
        """
        return _add_times(text, *self._synthesize(text, voice, settings, Deadline(settings, self._clock)))

    async def asynthesize_with_timestamps(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> Speech:
        """See `synthesize_with_timestamps`. A cancelled call ends its worker."""
        deadline = Deadline(settings, self._clock)
        spoken = await _run_in_thread(lambda: self._synthesize(text, voice, settings, deadline), deadline)
        return _add_times(text, *spoken)

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """See `VoiceStreaming.stream_speech`. Speech in mp3, ogg or flac arrives as one piece."""
        return self._stream(text, voice, settings, Deadline(settings, self._clock))

    async def astream_speech(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> AsyncIterator[bytes]:
        """See `stream_speech`. A cancelled call ends its worker."""
        deadline = Deadline(settings, self._clock)
        pieces = self._stream(text, voice, settings, deadline)
        try:
            while (piece := await _run_in_thread(lambda: next(pieces, _END), deadline)) is not _END:
                yield piece  # type: ignore[misc] # bytes, unless it is _END
        finally:
            deadline.cancel()

    def list_voices(self) -> Sequence[VoiceInfo]:
        """See `VoiceProvider.list_voices`. Each voice accepts a variant, such as "en-us+f3"."""
        return self._list_voices(Deadline({}))

    async def alist_voices(self) -> Sequence[VoiceInfo]:
        """See `list_voices`."""
        deadline = Deadline({})
        return await _run_in_thread(lambda: self._list_voices(deadline), deadline)

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return self._find_voice(voice_id, Deadline({}))

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `get_voice_info`."""
        deadline = Deadline({})
        return await _run_in_thread(lambda: self._find_voice(voice_id, deadline), deadline)

    def list_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        return _make_models(self.list_voices())

    async def alist_voice_models(self) -> Sequence[VoiceModel]:
        """See `list_voice_models`."""
        return _make_models(await self.alist_voices())

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        return self._offline.voice_traits(voice, settings)

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """See `VoiceOffline.speech_price`."""
        return self._offline.speech_price(model, characters, at)

    def close(self) -> None:
        """End the idle workers, unless another voice of this process uses them. A later call starts new workers."""
        get_shared_pool().leave(self)

    async def aclose(self) -> None:
        """See `close`, which blocks the event loop for only a few milliseconds."""
        self.close()

    def _list_voices(self, deadline: Deadline) -> Sequence[VoiceInfo]:
        get_shared_pool().join(self)
        return [found.info for found in load_voices(deadline).values()]

    def _find_voice(self, voice_id: str, deadline: Deadline) -> VoiceInfo:
        get_shared_pool().join(self)
        return find(voice_id, deadline).info

    def _check(
        self, text: str, voice: str | None, settings: Mapping[str, Any], deadline: Deadline
    ) -> tuple[SpeechSettings, KnownVoice]:
        """Check text and settings; return the settings and the voice."""
        _check_text(text)
        wanted = self._offline.make_settings(voice, settings)
        get_shared_pool().join(self)
        if voice is None and wanted.language:
            return wanted, find_by_language(wanted.language, deadline)
        return wanted, find(wanted.voice, deadline)

    def _synthesize(
        self, text: str, voice: str | None, settings: Mapping[str, Any], deadline: Deadline
    ) -> tuple[Speech, list[Word]]:
        wanted, found = self._check(text, voice, settings, deadline)
        samples: list[bytes] = []
        words = _speak(text, found, wanted, samples.append, deadline)
        data = b"".join(samples) or _SILENCE
        speech = Speech(
            audio=_encode(data, wanted, deadline),
            format=wanted.format,
            sample_rate_hz=RATE_HZ,
            duration_s=len(data) / 2 / RATE_HZ,
            characters=len(text),
            voice=found.info.voice_id,
            model=MODEL,
        )
        return speech, words

    def _stream(
        self, text: str, voice: str | None, settings: Mapping[str, Any], deadline: Deadline
    ) -> Iterator[bytes]:
        wanted, found = self._check(text, voice, settings, deadline)
        if wanted.format not in ("wav", "pcm"):
            yield self._synthesize(text, voice, settings, deadline)[0].audio
            return
        if wanted.format == "wav":
            yield STREAM_HEAD
        silent = True
        for piece in stream_samples(lambda take: _speak(text, found, wanted, take, deadline), deadline):
            silent = False
            yield piece
        if silent:
            yield _SILENCE


def _make_models(voices: Sequence[VoiceInfo]) -> Sequence[VoiceModel]:
    languages = {voice.language for voice in voices if voice.language}
    return [VoiceModel(model_id=MODEL, name="eSpeak NG", languages=tuple(sorted(languages)))]


def _check_text(text: str) -> None:
    if not text.strip():
        raise VoiceError("the text is empty", code="LC904", expected="a text with at least one letter")
    at = next((at for at, letter in enumerate(text) if "\ud800" <= letter <= "\udfff"), None)
    if at is not None:
        raise VoiceError(
            f"the text contains a lone surrogate U+{ord(text[at]):04X} at index {at}",
            code="LC905",
            expected="text that can be encoded as UTF-8",
        )
    ssml = find_ssml(text)
    if ssml is not None:
        check_ssml(ssml)


def _speak(
    text: str, found: KnownVoice, wanted: SpeechSettings, take: Callable[[bytes], object], deadline: Deadline
) -> list[Word]:
    return speak(text, found.file, speed=wanted.speed, pitch=wanted.pitch, take=take, deadline=deadline)


def _encode(data: bytes, wanted: SpeechSettings, deadline: Deadline) -> bytes:
    if wanted.format in ("wav", "pcm"):
        return encode_audio(data, wanted.format, deadline.check)
    return run_in_thread(lambda: encode_audio(data, wanted.format, deadline.check), deadline)


async def _run_in_thread(work: Callable[[], T], deadline: Deadline) -> T:
    """Run *work* in a thread and return its result; on cancellation, cancel the work and wait for its end."""
    import asyncio

    job = asyncio.ensure_future(threads.run_in_thread(work))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        deadline.cancel()
        await asyncio.wait([job])
        job.cancelled() or job.exception()  # marks the exception as retrieved, because otherwise asyncio logs it
        raise


def _add_times(text: str, speech: Speech, words: Sequence[Word]) -> Speech:
    import msgspec

    return msgspec.structs.replace(speech, alignment=_make_alignment(text, words, speech.duration_s or 0.0))


def _make_alignment(
    text: str, words: Sequence[Word], duration_s: float
) -> tuple[tuple[str, float, float], ...]:
    """Return the times of the characters. The characters between two words share the time evenly."""
    marks = {0: 0.0}
    for word in words:
        if 0 < word.at < len(text):
            marks.setdefault(word.at, min(word.begins_s, duration_s))
    marks[len(text)] = duration_s
    places = sorted(marks)
    timed: list[tuple[str, float, float]] = []
    latest = 0.0
    for left, right in itertools.pairwise(places):
        begins = max(latest, marks[left])
        latest = max(begins, marks[right])
        step = (latest - begins) / (right - left)
        timed += [
            (text[at], begins + (at - left) * step, begins + (at - left + 1) * step)
            for at in range(left, right)
        ]
    return tuple(timed)
