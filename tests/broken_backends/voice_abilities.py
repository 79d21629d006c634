"""Voices with every ability, right and wrong on purpose, under `VoiceConformance`; test_conformance_voice.py runs this file."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import pytest

from llmcore.errors import BadRequest, TextTooLong, VoiceError, VoiceNotFound
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits
from llmcore_testing.conformance import VoiceConformance

RATE = 8000
MOST = 2200


def wav(samples: bytes) -> bytes:
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16
    )
    return head + struct.pack("<4sI", b"data", len(samples)) + samples


@cache
def sound(start: int, rise: int, size: int) -> bytes:
    return struct.pack(f"<{size}h", *((start + at * rise) % 9973 for at in range(size)))


class Able:
    """Correct: every ability, sync and async."""

    def __init__(self, octave: int = 1) -> None:
        self.octave = octave
        self.voices = {
            name: VoiceInfo(voice_id=name, name=name.title())
            for name in ("low", "middle", "high", "top", "deep")
        }

    def synthesize(
        self,
        text: str,
        voice: str | None = None,
        *,
        pitch: int = 1,
        speed: float = 1.0,
        format: Any = "wav",  # noqa: A002 - the name of the contract
        timeout_s: float = 60.0,
        idle_s: float = 60.0,
        previous_text: str = "",
        next_text: str = "",
        previous_request_ids: Sequence[str] = (),
        **unknown: Any,
    ) -> Speech:
        if unknown:
            raise BadRequest(f"there is no setting {min(unknown)!r}")
        del timeout_s, idle_s, previous_text, next_text, previous_request_ids
        if not text.strip():
            raise VoiceError("there is nothing to say")
        if len(text) > MOST:
            raise TextTooLong(f"the text must have at most {MOST} characters, got {len(text)}")
        known = self.get_voice_info("low" if voice is None else voice)
        rise = 91 + 7 * list(self.voices).index(known.voice_id)
        samples = b"".join(
            sound(ord(letter) * pitch * self.octave, rise, round(64 / speed)) for letter in text
        )
        return Speech(
            audio=samples if format == "pcm" else wav(samples),
            format=format,
            sample_rate_hz=RATE,
            duration_s=len(samples) / 2 / RATE,
            characters=len(text),
            voice=known.voice_id,
        )

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        return self.synthesize(text, voice, **settings)

    def list_voices(self) -> Sequence[VoiceInfo]:
        return list(self.voices.values())

    async def alist_voices(self) -> Sequence[VoiceInfo]:
        return self.list_voices()

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        if voice_id not in self.voices:
            raise VoiceNotFound(f"there is no voice {voice_id!r}")
        return self.voices[voice_id]

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        return self.get_voice_info(voice_id)

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        audio = self.synthesize(text, voice, **settings).audio
        for at in range(0, len(audio), 500):
            yield audio[at : at + 500]

    async def astream_speech(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> AsyncIterator[Any]:
        for piece in self.stream_speech(text, voice, **settings):
            yield piece

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        speech = self.synthesize(text, voice, **settings)
        return msgspec.structs.replace(speech, alignment=tuple(self.times(text)))

    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for at, letter in enumerate(text):
            yield letter, at * 64 / RATE, (at + 1) * 64 / RATE

    async def asynthesize_with_timestamps(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> Speech:
        return self.synthesize_with_timestamps(text, voice, **settings)

    def search_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        del filters
        fitting = [
            voice for voice in self.voices.values() if (query or "").casefold() in voice.name.casefold()
        ]
        begins = int(after or 0)
        more = begins + limit < len(fitting)
        return VoicePage(
            voices=tuple(fitting[begins : begins + limit]), next=str(begins + limit) if more else None
        )

    async def asearch_voices(self, query: str | None = None, **given: Any) -> VoicePage:
        return self.search_voices(query, **given)

    def list_voice_models(self) -> Sequence[VoiceModel]:
        return [VoiceModel(model_id="one", max_characters=5000), VoiceModel(model_id="two")]

    async def alist_voice_models(self) -> Sequence[VoiceModel]:
        return self.list_voice_models()

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        return VoiceTraits(
            voice=voice or "low",
            model="one",
            format=settings.get("format", "wav"),
            sample_rate_hz=RATE,
            max_characters=MOST,
            identity={"version": "1", "octave": str(self.octave)},
            stitches=True,
        )

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Any:
        del at
        return Decimal(characters) / 1000 if model in ("one", "two") else None

    def clone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        del labels
        if not consent.strip():
            raise VoiceError("there is no consent")
        if not samples or not all(sample.startswith(b"RIFF") for sample in samples):
            raise VoiceError("a sample is not audio")
        self.voices["clone"] = VoiceInfo(voice_id="clone", name=name, description=description)
        return self.voices["clone"]

    async def aclone_voice(self, name: str, samples: Sequence[bytes], **given: Any) -> VoiceInfo:
        return self.clone_voice(name, samples, **given)

    def delete_voice(self, voice_id: str) -> bool:
        return self.voices.pop(voice_id, None) is not None

    async def adelete_voice(self, voice_id: str) -> bool:
        return self.delete_voice(voice_id)


class AlignsOtherText(Able):
    """pipecat-ai/pipecat#4344: times are those of the input, not of the spoken words."""

    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        return super().times(text.casefold() + ".")


class AlignsInMilliseconds(Able):
    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for letter, begins, ends in super().times(text):
            yield letter, begins * 1000, ends * 1000


class AlignsBackwards(Able):
    def times(self, text: str) -> Iterator[tuple[str, float, float]]:
        for (_, begins, ends), letter in zip(reversed(list(super().times(text))), text, strict=True):
            yield letter, begins, ends


class ClonesWithoutConsent(Able):
    def clone_voice(self, name: str, samples: Sequence[bytes], *, consent: str, **given: Any) -> VoiceInfo:
        return super().clone_voice(name, samples, consent=consent or "surely", **given)


class DeletesTwice(Able):
    def delete_voice(self, voice_id: str) -> bool:
        super().delete_voice(voice_id)
        return True


class FindsAnything(Able):
    def search_voices(self, query: str | None = None, **given: Any) -> VoicePage:
        del query
        return super().search_voices(None, **given)


class ForgetsTheHost(Able):
    def synthesize(self, text: str, voice: str | None = None, *, pitch: int = 1) -> Speech:  # type: ignore[override] # the fault
        return super().synthesize(text, voice, pitch=pitch)


class ListsModelsTwice(Able):
    def list_voice_models(self) -> Sequence[VoiceModel]:
        return [*super().list_voice_models()] * 2


class ModelOfNoCharacters(Able):
    def list_voice_models(self) -> Sequence[VoiceModel]:
        return [VoiceModel(model_id="one", max_characters=0)]


class PagesForever(Able):
    """floci-io/floci#939: the marker of the next page is ignored, so the pages never end."""

    def search_voices(self, query: str | None = None, **given: Any) -> VoicePage:
        return msgspec.structs.replace(super().search_voices(query, **given), next="0")


class PagesOverlap(Able):
    """mistralai/platform-docs-public#495: each page has the voices of the first one."""

    def search_voices(self, query: str | None = None, **given: Any) -> VoicePage:
        page = super().search_voices(query, **given)
        return msgspec.structs.replace(page, next=page.next and str(int(page.next) - 1))


class PagesTooLong(Able):
    """elevenlabs/elevenlabs-docs#954: the size of a page is ignored."""

    def search_voices(self, query: str | None = None, *, limit: int = 100, **given: Any) -> VoicePage:
        return super().search_voices(query, limit=limit + 1, **given)


class PricesUnknownModels(Able):
    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Any:
        del model
        return super().speech_price("one", characters, at)


class PricesInFloats(Able):
    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Any:
        return float(super().speech_price(model, characters, at) or 0)


class StreamsCut(Able):
    """Mic92/puss-say#1: the end of a stream is cut off."""

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        yield self.synthesize(text, voice, **settings).audio[:-20]


class StreamsHalf(Able):
    """langgenius/dify#7287: a stream stops in the middle of the text."""

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        return super().stream_speech(text[: len(text) // 2] or text, voice, **settings)


class StreamsNothingToSay(Able):
    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        return super().stream_speech(text if text.strip() else "silence", voice, **settings)


class StreamsText(Able):
    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[Any]:
        for piece in super().stream_speech(text, voice, **settings):
            yield piece.hex()


class TraitsOfAnotherFormat(Able):
    """teddybear082/pocket-tts-openai_streaming_server#3: mp3 is announced, and raw samples come."""

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        return msgspec.structs.replace(super().voice_traits(voice, settings), format="mp3")


class TraitsOfAnotherRate(Able):
    """deepgram-devs/deepgram-ai-agent-demo#73: the announced rate is not that of the audio."""

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        return msgspec.structs.replace(super().voice_traits(voice, settings), sample_rate_hz=44_100)


class TraitsThatChange(Able):
    turn = 0

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        self.turn += 1
        return msgspec.structs.replace(
            super().voice_traits(voice, settings), identity={"turn": str(self.turn)}
        )


class TraitsIgnoreOptions(Able):
    """jambonz/jambonz-feature-server#1059: another model is configured, and the audio of the former one is played."""

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        return msgspec.structs.replace(super().voice_traits(voice, settings), identity={})


class IdentityOfNumbers(Able):
    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        identity: Any = {"version": 1}
        return msgspec.structs.replace(super().voice_traits(voice, settings), identity=identity)


class ClonesOnly(Able):
    delete_voice = None  # type: ignore[assignment] # the fault


class TestAble(VoiceConformance):
    backend: type = Able
    settings = {"pitch": 3, "speed": 1.25}  # noqa: RUF012 - as a plugin author would write it
    formats = ("wav", "pcm")
    samples = (b"RIFF", b"RIFF2")

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()

    @pytest.fixture
    def variation(self) -> Any:
        return self.backend(octave=2)


class Broken(TestAble):
    test_a_hostile_text_is_spoken_or_rejected_without_harm = None  # type: ignore[assignment]  # tested in voice.py

    __test__ = False

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param


for _backend in Able.__subclasses__():
    _members = {"backend": _backend, "__test__": True}
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Broken,), _members)
