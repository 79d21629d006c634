"""Voices, good and broken on purpose, under `VoiceConformance`; test_conformance_voice.py runs this file."""

from __future__ import annotations

import array
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.errors import TextTooLong, VoiceNotFound
from llmcore.support.sending import track_sending
from llmcore.types import Speech, VoiceInfo
from llmcore_testing.conformance import VoiceConformance
from tests.broken_backends.voice_base import PITCHES, Tone


class AsyncTone:
    """Correct, asynchronous, raw samples; rejects long texts."""

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if len(text) > 1000:
            raise TextTooLong("1,000 characters at most")
        speech = Tone().synthesize(text, voice, **{**settings, "format": "wav"})
        return msgspec.structs.replace(speech, audio=speech.audio[44:], format="pcm")

    async def alist_voices(self) -> Sequence[VoiceInfo]:
        return Tone().list_voices()

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        return Tone().get_voice_info(voice_id)


class Both(Tone):
    """Correct, sync and async."""

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        return self.synthesize(text, voice, **settings)

    async def alist_voices(self) -> Sequence[VoiceInfo]:
        return self.list_voices()

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        return self.get_voice_info(voice_id)


class Changed(Tone):
    """Answers rightly, then changes the answer."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Any:
        return self.change(super().synthesize(text, voice, **settings))

    def change(self, speech: Speech) -> Any:
        return speech


class EndsWithinASample(Changed):
    """pipecat-ai/pipecat#4952: the audio ends with half a sample."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, audio=speech.audio[44:] + b"\x01", format="pcm")


class AnnouncesAReportThatNeverComes(Tone):
    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        track_sending()
        return super().synthesize(text, voice, **settings)


class ReturnsBytes(Changed):
    def change(self, speech: Speech) -> Any:
        return speech.audio


class IsSilent(Changed):
    """mozilla/TTS#505: some texts give an audio of 0 seconds."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, audio=self.wav(array.array("h")))


class SendsNothing(Changed):
    """openclaw/openclaw#49159: success with a file of 0 bytes."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, audio=b"")


class SendsAnErrorPage(Changed):
    """THU-MAIC/OpenMAIC#1395: an HTML page with status 200 is taken for audio."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, audio=b"<html>Bad gateway</html>")


class SendsJsonAsSamples(Changed):
    """antirek/google-speech#1: the server's error is saved as audio."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, audio=b'{"error": "quota"} ', format="pcm")


class CutsTheFile(Changed):
    """calzoneman/aeiou#18: the file ends in the middle."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, audio=speech.audio[:-10])


class CallsAWavMp3(Changed):
    """jundot/omlx#1013: mp3 was asked for, and wav comes."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, format="mp3")


class SendsPcmOfNoRate(Changed):
    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, audio=speech.audio[44:], format="pcm", sample_rate_hz=None)


class ClaimsAnotherRate(Changed):
    """AreevAI/flowcat#10: the rate is declared as 48 kHz, and the samples have 24 kHz."""

    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, sample_rate_hz=44_100)


class TellsMilliseconds(Changed):
    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, duration_s=(speech.duration_s or 0) * 1000)


class CountsBytesAsCharacters(Changed):
    def change(self, speech: Speech) -> Any:
        return msgspec.structs.replace(speech, characters=len(speech.audio))


class SaysAlwaysTheSame(Tone):
    def samples(self, text: str, pitch: float) -> array.array[int]:
        return super().samples(text and "beep", pitch)


class SpeaksTheFirstHundred(Tone):
    """edwko/OuteTTS#45: the end of a text is not spoken."""

    def samples(self, text: str, pitch: float) -> array.array[int]:
        return super().samples(text[:100], pitch)


class SpeaksTheEmptyText(Tone):
    """capacitor-community/text-to-speech#32: one platform speaks an empty text, the others raise."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        return super().synthesize(text if text.strip() else "silence", voice, **settings)


class TakesAnyVoice(Tone):
    """techempower-org/candela#898: an unknown voice is replaced by the default one."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        return super().synthesize(text, voice if voice in PITCHES else None, **settings)


class RaisesKeyError(Tone):
    """R2D2FISH/glados-tts#9: a text without words ends in an IndexError."""

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        return {voice.voice_id: voice for voice in self.list_voices()}[voice_id]


class ListsWhatItDoesNotKnow(Tone):
    """modelstudioai/cli#205: the listed voices are refused."""

    def list_voices(self) -> Sequence[VoiceInfo]:
        return [*super().list_voices(), VoiceInfo(voice_id="ghost", name="Ghost")]

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        if voice_id not in PITCHES:
            raise VoiceNotFound("there is no such voice")
        return VoiceInfo(voice_id=voice_id, name=voice_id.title())


class ListsTwice(Tone):
    """sugarlabs/speak-ai#31: voices are listed twice."""

    def list_voices(self) -> Sequence[VoiceInfo]:
        return [*super().list_voices()] * 2


class ListsInAnyOrder(Tone):
    turn = False

    def list_voices(self) -> Sequence[VoiceInfo]:
        self.turn = not self.turn
        return list(super().list_voices())[:: -1 if self.turn else 1]


class TellsOfAnother(Tone):
    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        super().get_voice_info(voice_id)
        return self.list_voices()[0]


class MixesUpTexts(Tone):
    """daswer123/xtts-api-server#59: concurrent calls share one file, and get the audio of each other."""

    text = ""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        self.text = text
        time.sleep(0.01)
        return super().synthesize(self.text, voice, **settings)


class IgnoresItsSettings(Tone):
    """perminder-klair/subwave#897: settings are dropped on the way to the server."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if settings:
            raise TypeError(f"unexpected settings {settings}")
        return super().synthesize(text, voice)


class Crashes(Tone):
    """espeak-ng/espeak-ng#1302: a number ends the process with a segmentation fault."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if "1234567890" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().synthesize(text, voice, **settings)


class PlaysFiles(Tone):
    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if found := re.search('src="(/.*?)"', text):
            text += str(Path(found[1]).read_bytes())
        return super().synthesize(text, voice, **settings)


class EndsTheProcess(Tone):
    """espeak-ng/espeak-ng#2495: a word ends the process."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if "\0" in text:
            os._exit(3)
        return super().synthesize(text, voice, **settings)


class HangsOnLongWords(Tone):
    """espeak-ng/espeak-ng#572: a long text hangs the engine."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        while "x" * 3000 in text:
            time.sleep(1)
        return super().synthesize(text, voice, **settings)


class RefusesControlCharactersInItsOwnWords(Tone):
    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if "\x01" in text:
            raise ValueError("invalid character")
        return super().synthesize(text, voice, **settings)


class Unfinished(Changed):
    """Correct: a header that does not know the length, as of a WAV that was streamed."""

    sizes = (0xFFFFFFFF, 0xFFFFFFFF)

    def change(self, speech: Speech) -> Any:
        riff, data = (size.to_bytes(4, "little") for size in self.sizes)
        audio = speech.audio[:4] + riff + speech.audio[8:40] + data + speech.audio[44:]
        return msgspec.structs.replace(speech, audio=audio)


class EndsWithinAFrame(Unfinished):
    """OHF-Voice/piper1-gpl#253: the number of samples is not a multiple of the channels."""

    def change(self, speech: Speech) -> Any:
        unfinished = super().change(speech)
        return msgspec.structs.replace(unfinished, audio=unfinished.audio + b"\x01")


class WritesTheLengthOfItsFirstPiece(Unfinished):
    """speaches-ai/speaches#493: a streamed wav has a wrong length in its header."""

    sizes = (136, 100)


class NoVoice:
    def speak(self, text: str) -> bytes:
        return text.encode()


class Good(VoiceConformance):
    backend: type = Both
    lacks = (
        "clone_voice", "list_voice_models", "search_voices", "stream_speech", "synthesize_with_timestamps",
        "voice_traits",
    )  # fmt: skip
    settings = {"pitch": 1.5, "speed": 1.25}  # noqa: RUF012 - as a plugin author would write it
    formats = ("pcm",)

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class Harmed(Good):
    deadline_s = 5.0

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class Broken(Harmed):
    test_a_hostile_text_is_spoken_or_rejected_without_harm = None  # type: ignore[assignment]  # many forks, for those that it finds alone


class TestBoth(Good):
    """Every test applies."""


class TestTone(Good):
    backend = Tone


class TestAsyncTone(Good):
    backend = AsyncTone


class TestUnfinished(Good):
    backend = Unfinished


for _base, _backends in {
    Harmed: (Crashes, PlaysFiles, EndsTheProcess, HangsOnLongWords, RefusesControlCharactersInItsOwnWords),
    Broken: (
        AnnouncesAReportThatNeverComes, ReturnsBytes, IsSilent, SendsNothing, SendsAnErrorPage, SendsJsonAsSamples,
        CutsTheFile, CallsAWavMp3, EndsWithinASample, SendsPcmOfNoRate, ClaimsAnotherRate, TellsMilliseconds,
        CountsBytesAsCharacters, SaysAlwaysTheSame, SpeaksTheFirstHundred, SpeaksTheEmptyText, TakesAnyVoice,
        RaisesKeyError, ListsWhatItDoesNotKnow, ListsTwice, ListsInAnyOrder, TellsOfAnother, MixesUpTexts,
        IgnoresItsSettings, NoVoice, EndsWithinAFrame, WritesTheLengthOfItsFirstPiece,
    ),
}.items():  # fmt: skip
    for _backend in _backends:
        globals()[f"Test{_backend.__name__}"] = type(
            f"Test{_backend.__name__}", (_base,), {"backend": _backend}
        )
