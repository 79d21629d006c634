"""Requests and speech: settings, formats, characters, costs, and joined pieces."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from llmcore.errors import BadRequest, LLMCoreError, TextTooLong, VoiceError, VoiceNotFound
from llmcore.types import Secret
from llmcore_testing.simulator import Fault, Simulator
from llmcore_testing.simulator.sounds import Codec, speak
from llmcore_voice_tts.answers import make_speech
from llmcore_voice_tts.offline import Offline
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice
from llmcore_voice_tts.request import make_speech_request
from tests.kits.body_server import BodyServer

TEXT = "It rains. Take an umbrella, please!"
ADAM = "Voice000000000000001"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def options(upstream: Simulator, **more: Any) -> ElevenLabsOptions:
    return ElevenLabsOptions(api_key=Secret("k"), base_url=upstream.url, **more)


@pytest.fixture
def voice(upstream: Simulator) -> Iterator[ElevenLabsVoice]:
    made = ElevenLabsVoice(options(upstream))
    yield made
    made.close()


def get_body(upstream: Simulator) -> Mapping[str, Any]:
    sent: Mapping[str, Any] = upstream.requests[-1].body
    return sent


def test_a_call_without_settings_sends_only_text_and_model(
    upstream: Simulator, voice: ElevenLabsVoice
) -> None:
    voice.synthesize(TEXT)
    assert get_body(upstream) == {"text": TEXT, "model_id": "eleven_multilingual_v2"}
    assert upstream.requests[-1].path == "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb"
    assert upstream.requests[-1].query == {"output_format": "mp3_44100_128"}


def test_settings_are_sent_in_the_fields_of_the_vendor(upstream: Simulator, voice: ElevenLabsVoice) -> None:
    upstream.fail(Fault.status(500))  # the dictionaries do not exist there
    with pytest.raises(LLMCoreError):
        voice.synthesize(
            TEXT, ADAM, model="eleven_v4", format="wav_48000", stability=0.5, similarity_boost=0.7, style=0.1,
            speed=1.1, use_speaker_boost=True, seed=7, language="de-AT", apply_text_normalization="off",
            pronunciation_dictionaries=["D1", "D2:V9"], next_text="And then.",
        )  # fmt: skip
    assert get_body(upstream) == {
        "text": TEXT,
        "model_id": "eleven_v4",
        "language_code": "de",
        "seed": 7,
        "voice_settings": {
            "stability": 0.5,
            "similarity_boost": 0.7,
            "style": 0.1,
            "speed": 1.1,
            "use_speaker_boost": True,
        },
        "pronunciation_dictionary_locators": [
            {"pronunciation_dictionary_id": "D1"},
            {"pronunciation_dictionary_id": "D2", "version_id": "V9"},
        ],
        "apply_text_normalization": "off",
        "next_text": "And then.",
    }
    assert upstream.requests[-1].query["output_format"] == "wav_48000"


def test_options_are_defaults_for_calls(upstream: Simulator) -> None:
    voice = ElevenLabsVoice(
        options(upstream, voice=ADAM, model="eleven_v4", stability=0.2, speed=0.9, seed=3)
    )
    speech = voice.synthesize(TEXT, speed=1.2)
    assert speech.voice == ADAM
    assert get_body(upstream)["voice_settings"] == {"stability": 0.2, "speed": 1.2}
    assert (get_body(upstream)["seed"], get_body(upstream)["model_id"]) == (3, "eleven_v4")
    voice.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stabilty": 0.5}, "did you mean `stability`"),
        ({"stability": 1.5}, "0 to 1"),
        ({"stability": True}, "0 to 1"),
        ({"speed": 2}, "0.7 to 1.2"),
        ({"use_speaker_boost": 1}, "true or false"),
        ({"seed": -1}, "4294967295"),
        ({"seed": 1.5}, "4294967295"),
        ({"format": "mp3_44100_129"}, "mp3_44100_12"),
        ({"format": "flac"}, "mp3, opus"),
        ({"language": "../x"}, "en-GB"),
        ({"pronunciation_dictionaries": ["a", "b", "c", "d"]}, "at most 3"),
        ({"pronunciation_dictionaries": ":V1"}, "ID:VERSION"),
        ({"pronunciation_dictionaries": {"D1": "V1"}}, "ID:VERSION"),
        ({"pronunciation_dictionaries": 0}, "ID:VERSION"),
        ({"next_request_ids": "abc"}, "at most 3 ids"),
        ({"next_request_ids": 5}, "at most 3 ids"),
        ({"next_request_ids": ["a", 5]}, "at most 3 ids"),
        ({"next_request_ids": ["a", "b", "c", "d"]}, "at most 3 ids"),
        ({"next_request_ids": ["a"], "model": "eleven_v4"}, "does not support"),
        ({"previous_request_ids": "abc"}, "ids of requests"),
        ({"apply_text_normalization": "maybe"}, "auto, on, off"),
        ({"model": 3}, "id of a model"),
    ],
)
def test_invalid_arguments_are_rejected_before_sending(
    upstream: Simulator, voice: ElevenLabsVoice, settings: dict[str, Any], said: str
) -> None:
    for call in (voice.synthesize, voice.synthesize_with_timestamps):
        with pytest.raises(BadRequest) as caught:
            call(TEXT, **settings)
        assert said in str(caught.value)
    with pytest.raises(BadRequest):
        list(voice.stream_speech(TEXT, **settings))
    with pytest.raises(BadRequest):
        voice.voice_traits(None, settings)
    assert upstream.requests == []


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_empty_text_makes_no_call(upstream: Simulator, voice: ElevenLabsVoice, text: str) -> None:
    async def asynchronously() -> None:
        await voice.asynthesize(text)

    for call in (
        lambda: voice.synthesize(text),
        lambda: list(voice.stream_speech(text)),
        lambda: voice.synthesize_with_timestamps(text),
        lambda: asyncio.run(asynchronously()),
    ):
        with pytest.raises(VoiceError, match="the text is empty"):
            call()
    assert upstream.requests == []


def test_a_lone_surrogate_is_reported_with_its_place(upstream: Simulator, voice: ElevenLabsVoice) -> None:
    with pytest.raises(BadRequest, match=r"a lone surrogate U\+D83D at index 3"):
        voice.synthesize("abc\ud83d")
    assert upstream.requests == []


@pytest.mark.parametrize("voice_id", ["", "../../v1/user", "a b", "-h", "x" * 65, "a/b", "a%2fb"])
def test_no_voice_leads_to_another_address(
    upstream: Simulator, voice: ElevenLabsVoice, voice_id: str
) -> None:
    with pytest.raises(VoiceNotFound):
        voice.synthesize(TEXT, voice_id)
    with pytest.raises(VoiceNotFound):
        voice.get_voice_info(voice_id)
    assert voice.delete_voice(voice_id) is False
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("model", "most"), [("eleven_v3", 5_000), ("eleven_v4", 10_000), ("eleven_flash_v2_5", 40_000)]
)
def test_a_text_beyond_the_models_limit_is_not_sent(
    upstream: Simulator, voice: ElevenLabsVoice, model: str, most: int
) -> None:
    assert voice.voice_traits(None, {"model": model}).max_characters == most
    with pytest.raises(TextTooLong, match=f"at most {most:,} characters"):
        voice.synthesize("x" * (most + 1), model=model)
    assert upstream.requests == []
    assert voice.synthesize("x" * most, model=model).characters == most


def test_limits_and_models_equal_those_of_the_server(voice: ElevenLabsVoice) -> None:
    for model in voice.list_voice_models():
        assert voice.voice_traits(None, {"model": model.model_id}).max_characters == model.max_characters


@pytest.mark.parametrize(
    ("name", "kind", "rate"),
    [
        ("mp3", "mp3", 44100),
        ("mp3_22050_32", "mp3", 22050),
        ("wav", "wav", 24000),
        ("pcm_8000", "pcm", 8000),
        ("opus", "opus", 48000),
        ("ulaw", "ulaw", 8000),
        ("alaw", "alaw", 8000),
    ],
)
def test_every_format_comes_as_its_traits_say(
    voice: ElevenLabsVoice, name: str, kind: str, rate: int
) -> None:
    traits = voice.voice_traits(None, {"format": name})
    assert (traits.format, traits.sample_rate_hz) == (kind, rate)
    speech = voice.synthesize(TEXT, format=name)
    assert (speech.format, speech.sample_rate_hz) == (kind, rate)
    if kind not in {"mp3", "opus"}:
        assert speech.duration_s == pytest.approx(len(TEXT) * 0.02, abs=0.001)


def test_a_streamed_wav_equals_the_whole_one_except_for_its_lengths(voice: ElevenLabsVoice) -> None:
    pieces = list(voice.stream_speech(TEXT, format="wav"))
    assert len(pieces) > 3
    streamed = b"".join(pieces)
    whole = voice.synthesize(TEXT, format="wav").audio
    assert streamed[4:8] == b"\xff" * 4
    assert streamed[44:] == whole[44:]
    with wave.open(io.BytesIO(whole)) as file:
        assert file.getnframes() == (len(whole) - 44) // 2


def test_the_first_piece_comes_before_the_last_is_sent(upstream: Simulator, voice: ElevenLabsVoice) -> None:
    upstream.fail(Fault.stall(after=2))
    pieces = voice.stream_speech(TEXT, timeout_s=30.0, idle_s=30.0)
    assert next(pieces)[:2] == b"\xff\xfb"
    assert upstream.in_flight == 1
    pieces.close()  # type: ignore[attr-defined]
    assert upstream.wait_for(lambda: upstream.in_flight == 0)


def test_an_abandoned_stream_holds_up_nothing(upstream: Simulator, voice: ElevenLabsVoice) -> None:
    async def abandon() -> None:
        pieces = voice.astream_speech(TEXT * 40)
        async for _ in pieces:
            break
        await pieces.aclose()  # type: ignore[attr-defined]
        assert (await voice.asynthesize(TEXT)).audio

    upstream.fail(Fault.stall(after=2))
    asyncio.run(abandon())
    assert upstream.counts["speech"] == 1


def test_the_credits_of_the_server_are_believed(voice: ElevenLabsVoice) -> None:
    speech = voice.synthesize(TEXT)
    assert (speech.characters, speech.cost) == (len(TEXT), Decimal("0.00008") * len(TEXT))
    fast = voice.synthesize(TEXT + "!", model="eleven_flash_v2_5")
    assert (fast.characters, fast.cost) == (len(TEXT) + 1, Decimal("0.00008") * ((len(TEXT) + 1) // 2))


@pytest.mark.parametrize(
    ("said", "characters", "cost"),
    [
        ("100", 100, "0.008"),
        ("", 35, "0.0028"),
        ("NaN", 35, "0.0028"),
        ("-3", 35, "0.0028"),
        ("36", 35, "0.00288"),
    ],
)
def test_a_count_that_cannot_be_is_not_believed(said: str, characters: int, cost: str) -> None:
    asked = make_speech_request(ElevenLabsOptions(), None, {"format": "pcm"})
    speech = make_speech(b"\0\0", {"character-cost": said}, TEXT, asked)
    assert (speech.characters, speech.cost) == (characters, Decimal(cost))


def test_prices_are_by_the_model_and_unknown_for_another_model(upstream: Simulator) -> None:
    offline = Offline(options(upstream))
    assert offline.speech_price("eleven_v4", 1_000_000) == 80
    assert offline.speech_price("eleven_v4_turbo", 1_000_000) == 40
    assert offline.speech_price("eleven_v9", 1) is None


def test_pieces_are_joined_as_the_model_can(upstream: Simulator, voice: ElevenLabsVoice) -> None:
    around: Any = {
        "previous_text": "Before.",
        "next_text": "After.",
        "previous_request_ids": ["1", "2", "3", "4"],
    }
    voice.synthesize(TEXT, **around)
    assert get_body(upstream)["previous_request_ids"] == ["2", "3", "4"]
    assert "previous_text" not in get_body(upstream)
    assert get_body(upstream)["next_text"] == "After."
    voice.synthesize(TEXT, model="eleven_v4", **around)
    assert get_body(upstream)["previous_text"] == "Before."
    assert "previous_request_ids" not in get_body(upstream)
    voice.synthesize(TEXT, model="eleven_v3", **around)
    assert set(get_body(upstream)) == {"text", "model_id"}
    stitches = {
        name: voice.voice_traits(None, {"model": name}).stitches
        for name in ("eleven_multilingual_v2", "eleven_v4", "eleven_v3", "eleven_v9")
    }
    assert stitches == {
        "eleven_multilingual_v2": True,
        "eleven_v4": True,
        "eleven_v3": False,
        "eleven_v9": False,
    }


def test_a_request_has_the_name_that_the_next_piece_is_joined_by(voice: ElevenLabsVoice) -> None:
    first = voice.synthesize(TEXT)
    assert first.request_id
    assert voice.synthesize(TEXT, previous_request_ids=[first.request_id]).request_id != first.request_id


def test_every_character_has_its_moment_sync_and_async(voice: ElevenLabsVoice) -> None:
    for speech in (
        voice.synthesize_with_timestamps(TEXT, format="wav"),
        asyncio.run(voice.asynthesize_with_timestamps(TEXT, format="wav")),
    ):
        assert "".join(character for character, _, _ in speech.alignment) == TEXT
        assert all(start <= end for _, start, end in speech.alignment)
        assert speech.alignment[-1][2] == pytest.approx(speech.duration_s, abs=0.01)
        assert speech.cost == Decimal("0.00008") * len(TEXT)


def test_traits_differ_for_different_audio_and_contain_no_key(upstream: Simulator) -> None:
    def identity(key: str = "sk_one", settings: Mapping[str, Any] | None = None, **more: Any) -> str:
        made = ElevenLabsOptions(api_key=Secret(key), **{"base_url": upstream.url, **more})
        return repr(sorted(Offline(made).voice_traits(None, settings or {}).identity.items()))

    seen = [
        identity(),
        identity("sk_two"),
        identity(base_url="http://elsewhere"),
        identity(stability=0.3),
        identity(seed=4),
        identity(language="de"),
        identity(pronunciation_dictionaries=["D"]),
        identity(format="mp3_44100_192"),
    ]
    assert len(set(seen)) == len(seen)
    assert "sk_" not in "".join(seen)
    assert identity(stability=0.3) == identity(settings={"stability": 0.3})


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", ""])
def test_audio_may_have_any_label_and_any_success(kind: str) -> None:
    audio = speak("It rains.", Codec("mp3", 44100, 128))
    server = BodyServer([audio[:500], audio[500:]], kind, 201)
    voice = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=server.url.removesuffix("/v1")))
    try:
        assert voice.synthesize("It rains.").audio == audio
        assert asyncio.run(voice.asynthesize("It rains.")).audio == audio
        assert b"".join(voice.stream_speech("It rains.")) == audio
    finally:
        voice.close()
        server.close()


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_timed_audio_may_have_any_label_and_a_byte_order_mark(kind: str) -> None:
    audio, text = speak("Rain", Codec("mp3", 44100, 128)), "Rain"
    times = [0.1 * at for at in range(len(text))]
    alignment = {
        "characters": list(text),
        "character_start_times_seconds": times,
        "character_end_times_seconds": times,
    }
    body = {"audio_base64": base64.b64encode(audio).decode(), "alignment": alignment}
    server = BodyServer([b"\xef\xbb\xbf", json.dumps(body).encode()], kind, 201)
    voice = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=server.url.removesuffix("/v1")))
    try:
        assert voice.synthesize_with_timestamps(text).audio == audio
        assert asyncio.run(voice.asynthesize_with_timestamps(text)).audio == audio
    finally:
        voice.close()
        server.close()
