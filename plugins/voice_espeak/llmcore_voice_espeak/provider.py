"""The voice itself."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from llmcore.contracts.ssml import document
from llmcore.errors import VoiceError
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoiceTraits
from llmcore_voice_espeak.encoding import STREAM_HEAD, encoded, little_endian
from llmcore_voice_espeak.library import Word, loaded
from llmcore_voice_espeak.offline import MODEL, RATE_HZ, EspeakOffline, Wanted
from llmcore_voice_espeak.patience import Patience, carried
from llmcore_voice_espeak.plugin import EspeakOptions
from llmcore_voice_espeak.voices import Found, by_language, find, listed

__all__ = ["EspeakVoice"]

_SILENCE: Final = bytes(2 * RATE_HZ // 20)
"""What is heard of a text that has no sound, such as an emoji that nobody named: a twentieth of a second."""


class EspeakVoice:
    """Keeps `VoiceProvider`, `VoiceStreaming`, `VoiceTimestamps`, `VoiceModels` and `VoiceOffline`; the host makes the async twins.

    The same text sounds the same, always. One text is spoken at a time, several hundred times faster than it is heard.
    """

    def __init__(
        self, options: EspeakOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._offline = EspeakOffline(options or EspeakOptions())
        self._clock = clock

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceProvider.synthesize`. Its settings are `format`, `speed`, `pitch` and `language`."""
        return self._spoken(text, voice, settings)[0]

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        """See `VoiceTimestamps.synthesize_with_timestamps`. Words are timed; the characters share their word's time."""
        import msgspec

        speech, words = self._spoken(text, voice, settings)
        return msgspec.structs.replace(speech, alignment=_aligned(text, words, speech.duration_s or 0.0))

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        """See `VoiceStreaming.stream_speech`. What has to be encoded comes in one piece."""
        patience = Patience(settings, self._clock)
        wanted, found = self._checked(text, voice, settings, patience)
        if wanted.format not in ("wav", "pcm"):
            yield self._spoken(text, voice, settings)[0].audio
            return
        if wanted.format == "wav":
            yield STREAM_HEAD
        yield from _as_they_come(text, found, wanted, patience)

    def list_voices(self) -> Sequence[VoiceInfo]:
        """See `VoiceProvider.list_voices`. Each can be given a variant, such as "en-us+f3"."""
        return [found.info for found in listed(Patience({})).values()]

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `VoiceProvider.get_voice_info`."""
        return find(voice_id, Patience({})).info

    def list_voice_models(self) -> Sequence[VoiceModel]:
        """See `VoiceModels.list_voice_models`."""
        languages = {found.info.language for found in listed(Patience({})).values() if found.info.language}
        return [VoiceModel(model_id=MODEL, name="eSpeak NG", languages=tuple(sorted(languages)))]

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        return self._offline.voice_traits(voice, settings)

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """See `VoiceOffline.speech_price`."""
        return self._offline.speech_price(model, characters, at)

    def _checked(
        self, text: str, voice: str | None, settings: Mapping[str, Any], patience: Patience
    ) -> tuple[Wanted, Found]:
        if not text.strip():
            raise VoiceError(
                "there is nothing to say", code="LC904", expected="a text with at least one letter"
            )
        wanted = self._offline.wanted(voice, settings)
        if voice is None and wanted.language:
            return wanted, by_language(wanted.language, patience)
        return wanted, find(wanted.voice, patience)

    def _spoken(self, text: str, voice: str | None, settings: Mapping[str, Any]) -> tuple[Speech, list[Word]]:
        patience = Patience(settings, self._clock)
        wanted, found = self._checked(text, voice, settings, patience)

        def work() -> tuple[Speech, list[Word]]:
            samples: list[bytes] = []
            words = _speak(text, found, wanted, samples.append, patience)
            data = little_endian(b"".join(samples)) or _SILENCE
            speech = Speech(
                audio=encoded(data, wanted.format, patience.look),
                format=wanted.format,
                sample_rate_hz=RATE_HZ,
                duration_s=len(data) / 2 / RATE_HZ,
                characters=len(text),
                voice=found.info.voice_id,
                model=MODEL,
            )
            return speech, words

        return carried(work, patience)


def _speak(
    text: str, found: Found, wanted: Wanted, take: Callable[[bytes], object], patience: Patience
) -> list[Word]:
    def heard(some: bytes) -> None:
        patience.look()
        if some:
            take(some)

    ssml = document(text)
    with loaded(patience) as library:
        return library.speak(
            _said(
                text if ssml is None else ssml.rjust(len(text.rstrip()))
            ),  # so that words keep their places
            found.file,
            speed=wanted.speed,
            pitch=wanted.pitch,
            ssml=ssml is not None,
            heard=heard,
        )


def _said(text: str) -> str:
    """Return *text* with a space for each control character: in the library's eyes they are commands."""
    return "".join(letter if letter >= " " or letter in "\t\n\r" else " " for letter in text)


def _as_they_come(text: str, found: Found, wanted: Wanted, patience: Patience) -> Iterator[bytes]:
    """Yield samples while a thread speaks on; leaving early stops it."""
    there: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

    def carry() -> None:
        try:
            _speak(text, found, wanted, lambda some: there.put(little_endian(some)), patience)
        except BaseException as error:  # noqa: BLE001 - it is raised to the reader
            there.put(error)
        there.put(None)

    thread = threading.Thread(target=carry, name="llmcore-espeak", daemon=True)
    thread.start()
    silent = True
    try:
        while (piece := there.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            silent = False
            yield piece
        if silent:
            yield _SILENCE
    finally:
        patience.give_up()
        with suppress(RuntimeError):
            thread.join()


def _aligned(text: str, words: Sequence[Word], duration_s: float) -> tuple[tuple[str, float, float], ...]:
    """Return when each character is spoken: those from one word's beginning to the next one's share the time evenly."""
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
