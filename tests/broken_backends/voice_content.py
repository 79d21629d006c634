"""Voices whose audio does not say the text, under `VoiceConformance`; test_conformance_voice_content.py runs this file."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from llmcore.errors import TextTooLong, VoiceError
from llmcore.types import Speech, VoiceInfo, VoicePage
from llmcore_testing.conformance import VoiceConformance
from tests.broken_backends.voice_abilities import MOST, Able, wav
from tests.broken_backends.voice_content_base import Changed, Cuts


class IsSilent(Changed):
    """SWivid/F5-TTS#347: the audio has the right length and no sound."""

    def change(self, samples: bytes) -> bytes:
        return bytes(len(samples))


class IsNearlySilent(Changed):
    """matatonic/openedai-speech#32: a second of silence is a success."""

    def change(self, samples: bytes) -> bytes:
        return (b"\3\0\xfd\xff" * len(samples))[: len(samples)]


class IsOneLevel(Changed):
    def change(self, samples: bytes) -> bytes:
        return b"\0\x20" * (len(samples) // 2)


class IsSilentAtTheEnd(Changed):
    """microsoft/cognitive-services-speech-sdk-js#691: the audio ends in silence instead of words."""

    def change(self, samples: bytes) -> bytes:
        kept = len(samples) // 4 * 2
        return samples[:kept] + bytes(len(samples) - kept)


class IsSilentAtTheBeginning(Changed):
    """InkTimeRecord/TTime#342: the beginning of each audio has no sound."""

    def change(self, samples: bytes) -> bytes:
        return bytes(len(samples) // 4 * 2) + samples[len(samples) // 4 * 2 :]


class IsSilentInTheMiddle(Changed):
    def change(self, samples: bytes) -> bytes:
        part = len(samples) // 10 * 2
        return samples[:part] + bytes(3 * part) + samples[4 * part :]


class BeepsForEachText(Changed):
    def change(self, samples: bytes) -> bytes:
        beep = struct.pack("<40h", *(round(8000 * math.sin(at * math.tau / 40)) for at in range(40)))
        beep = bytes([len(self.speech.voice)]) + beep[1:]  # each voice has its own
        return (beep * len(samples))[: len(samples)]


class HasOneVoice(Able):
    """elizaOS/eliza#12253: a configured voice is silently replaced by another one."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        spoken = super().synthesize(text, None, **settings)
        return msgspec.structs.replace(spoken, voice=self.get_voice_info(voice or "low").voice_id)


class DropsTheLastSentence(Cuts):
    """Jeffser/Alpaca#1013: the last sentence is missing."""

    def cut(self, text: str) -> str:
        sentences = re.split(r"(?<=[.?!]) ", text)
        return " ".join(sentences[:-1] or sentences)


class DropsWhatHasNoFullStop(Cuts):
    """mozilla/TTS#348: a sentence without a full stop is not spoken."""

    def cut(self, text: str) -> str:
        return "".join(re.findall(r"[^.?!]*[.?!]", text)) or text


class DropsQuestions(Cuts):
    def cut(self, text: str) -> str:
        return " ".join(re.findall(r"[^.?]*\.", text)) or text


class ReadsOneLine(Cuts):
    """art-from-the-machine/Mantella#211: only the first line is spoken."""

    def cut(self, text: str) -> str:
        return text.strip().partition("\n")[0] or text


class StopsAtTheFirstUmlaut(Cuts):
    """pndurette/gTTS#13: a text beyond ASCII gives a file without sound."""

    def cut(self, text: str) -> str:
        ascii_only = text.encode("ascii", "replace").decode().split("?")[0]
        return text if text.isascii() or not ascii_only.strip() else ascii_only


class IgnoresTheSpeed(Able):
    """mudler/LocalAI#11097: `speed` is silently ignored."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        return super().synthesize(text, voice, **{**settings, "speed": 1.0})


class InvertsTheSpeed(Able):
    """rhasspy/larynx#3: a higher speed is slower."""

    def synthesize(
        self, text: str, voice: str | None = None, *, speed: float = 1.0, **settings: Any
    ) -> Speech:
        return super().synthesize(text, voice, speed=1 / speed, **settings)


class TakesTheSpeedAsPercent(Able):
    def synthesize(
        self, text: str, voice: str | None = None, *, speed: float = 1.0, **settings: Any
    ) -> Speech:
        return super().synthesize(text, voice, speed=1 + speed / 100, **settings)


class IgnoresTheFormat(Able):
    """veniceai/api-docs#386: the format is ignored, wav comes."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        return super().synthesize(text, voice, **{**settings, "format": "wav"})


class CallsAWavPcm(Able):
    """roryeckel/wyoming_openai#73: the chunks of a wav are passed on as samples."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        spoken = super().synthesize(text, voice, **{**settings, "format": "wav"})
        return msgspec.structs.replace(spoken, format=settings.get("format", "wav"))


class SendsBigEndianSamples(Changed):
    """elevenlabs/elevenlabs-python#735: the bytes of each sample come in the other order."""

    def change(self, samples: bytes) -> bytes:
        swapped = bytearray(samples)
        swapped[::2], swapped[1::2] = samples[1::2], samples[::2]
        return bytes(swapped) if self.speech.format == "pcm" else samples


class SendsPcmOfTwoChannels(Changed):
    """AlbrechtL/welle.io#363: two channels are taken for one, at half the speed."""

    def change(self, samples: bytes) -> bytes:
        twice = b"".join(samples[at : at + 2] * 2 for at in range(0, len(samples), 2))
        return twice if self.speech.format == "pcm" else samples

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        return msgspec.structs.replace(super().synthesize(text, voice, **settings), duration_s=None)


class StreamsSilence(Able):
    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        audio = super().synthesize(text, voice, **settings).audio
        yield wav(bytes(len(audio) - 44))


class StreamsSilenceAtTheEnd(Able):
    """MicrosoftDocs/azure-docs#47344: the end of the audio is silence."""

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        audio = super().synthesize(text, voice, **settings).audio
        yield audio[: len(audio) // 2]
        yield bytes(len(audio) - len(audio) // 2)


class StreamsUntilTheFirstSentence(Able):
    """home-assistant/core#149826: under the 30 % by which the lengths of a stream and of the whole speech may differ."""

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        short = text if len(text) < 53 else text[: len(text) // 2]
        return super().stream_speech(short, voice, **settings)


class StreamsAHeaderInEachPiece(Able):
    """travisvn/chatterbox-tts-api#14: the headers between the pieces are heard as clicks."""

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        audio = super().synthesize(text, voice, **settings).audio
        for at in range(44, len(audio), 1000):
            yield wav(audio[at : at + 1000])


class BeginsBeforeTheAudio(Able):
    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for letter, begins, ends in super().times(text):
            yield letter, begins - 0.5, ends - 0.5


class EndsAfterTheAudio(Able):
    """elevenlabs/elevenlabs-python#772: the times of the end do not match the audio."""

    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for letter, begins, ends in super().times(text):
            yield letter, begins * 1.7, ends * 1.7


class EndsBeforeItBegins(Able):
    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for letter, begins, ends in super().times(text):
            yield letter, ends, begins


class GivesTimesThatAreNotNumbers(Able):
    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for letter, _, ends in super().times(text):
            yield letter, math.nan, ends


class GivesDurations(Able):
    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for letter, begins, ends in super().times(text):
            yield letter, 0.0, ends - begins


class StopsAtHalf(Able):
    """elevenlabs/elevenlabs-python#707: the times stop before the audio does."""

    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for letter, begins, ends in super().times(text):
            yield letter, begins * 0.4, ends * 0.4


class CutsAtTheLimit(Cuts):
    """MoonlightByte/NeverEndingQuest#325: what is beyond the limit is not spoken, without an error."""

    def cut(self, text: str) -> str:
        return text[:MOST]


class RefusesTheLimitItself(Able):
    """Weilbyte/tiktok-tts#14: a text of exactly the limit is refused."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if len(text) >= MOST:
            raise TextTooLong("the text is too long")
        return super().synthesize(text, voice, **settings)


class CountsBytesForTheLimit(Able):
    """mandnyc/ssml-builder#24: the limit counts bytes, so texts beyond ASCII are refused too early."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if len(text.encode()) > MOST:
            raise TextTooLong("the text is too long")
        return super().synthesize(text, voice, **settings)


class CountsWithoutSpaces(Cuts):
    def cut(self, text: str) -> str:
        return text if len(text) <= MOST else " ".join(text.split()) or text


class StreamsBeyondTheLimit(Able):
    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        return super().stream_speech(text[:MOST], voice, **settings)


class RaisesBadRequestAtTheLimit(Able):
    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if len(text) > MOST:
            raise VoiceError("the server said 400")
        return super().synthesize(text, voice, **settings)


class TakesBlanksAsConsent(Able):
    def clone_voice(self, name: str, samples: Sequence[bytes], *, consent: str, **given: Any) -> VoiceInfo:
        return super().clone_voice(name, samples, consent=consent and "agreed", **given)


class ClonesText(Able):
    def clone_voice(self, name: str, samples: Sequence[bytes], **given: Any) -> VoiceInfo:
        return super().clone_voice(name, [b"RIFF" for _ in samples], **given)


class LooksAtTheFirstSample(Able):
    def clone_voice(self, name: str, samples: Sequence[bytes], **given: Any) -> VoiceInfo:
        return super().clone_voice(name, samples[:1], **given)


class SkipsEmptySamples(Able):
    def clone_voice(self, name: str, samples: Sequence[bytes], **given: Any) -> VoiceInfo:
        return super().clone_voice(name, list(filter(None, samples)), **given)


class ClonesFromNothing(Able):
    def clone_voice(self, name: str, samples: Sequence[bytes], **given: Any) -> VoiceInfo:
        return super().clone_voice(name, samples or [b"RIFF"], **given)


class RefusesAndClones(Able):
    def clone_voice(self, name: str, samples: Sequence[bytes], **given: Any) -> VoiceInfo:
        self.voices["clone"] = VoiceInfo(voice_id="clone", name=name)
        return super().clone_voice(name, samples, **given)


class PagesMissTheLast(Able):
    def search_voices(self, query: str | None = None, **given: Any) -> VoicePage:
        page = super().search_voices(query, **given)
        if page.next is None and len(page.voices) > 1:
            return msgspec.structs.replace(page, voices=page.voices[:-1])
        return page


class PagesHaveMore(Able):
    def search_voices(self, query: str | None = None, **given: Any) -> VoicePage:
        page = super().search_voices(query, **given)
        if page.next is None and not query and given["limit"] > len(page.voices):
            ghost = VoiceInfo(voice_id="ghost", name="Ghost")
            return msgspec.structs.replace(page, voices=(*page.voices, ghost))
        return page


class PagesRename(Able):
    def search_voices(self, query: str | None = None, **given: Any) -> VoicePage:
        page = super().search_voices(query, **given)
        renamed = tuple(
            msgspec.structs.replace(voice, name=voice.name + (" (premade)" if query is None else ""))
            for voice in page.voices
        )
        return msgspec.structs.replace(page, voices=renamed)


class SkipsAPageOfOne(Able):
    def search_voices(self, query: str | None = None, *, limit: int = 100, **given: Any) -> VoicePage:
        page = super().search_voices(query, limit=limit, **given)
        return msgspec.structs.replace(page, next=None) if limit == 1 and given.get("after") else page


class ListsTheFirstPage(Able):
    """lfnovo/esperanto#148: only the first page of voices is listed."""

    def list_voices(self) -> Sequence[VoiceInfo]:
        return list(super().list_voices())[:3]


class FormatOfTraitsIsFixed(Able):
    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> Any:
        return msgspec.structs.replace(super().voice_traits(voice, settings), format="wav")


class Broken(VoiceConformance):
    __test__ = False
    test_a_hostile_text_is_spoken_or_rejected_without_harm = None  # type: ignore[assignment] # tested in voice.py
    backend: type
    settings = {"pitch": 3, "speed": 1.25}  # noqa: RUF012 - as a plugin author would write it
    formats = ("wav", "pcm")
    samples = (b"RIFF", b"RIFF2")

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class TestAble(Broken):
    __test__ = True
    backend = Able


for _backend in [*Able.__subclasses__(), *Changed.__subclasses__(), *Cuts.__subclasses__()]:
    if _backend not in (Changed, Cuts) and _backend.__module__ == __name__:
        _members = {"backend": _backend, "__test__": True}
        globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Broken,), _members)
