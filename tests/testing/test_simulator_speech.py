"""The voices of the simulator, with the real clients of OpenAI and ElevenLabs."""

from __future__ import annotations

import base64
import io
import itertools
import struct
import wave
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from elevenlabs import ElevenLabs
from elevenlabs.core.api_error import ApiError

from llmcore.errors import ConfigError
from llmcore_testing import Fault, Simulator

TEXT = "It rains. Take an umbrella, please!"
ADAM = "Voice000000000000001"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def web() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=20) as client:
        yield client


@pytest.fixture
def eleven(upstream: Simulator, web: httpx.Client) -> ElevenLabs:
    return ElevenLabs(api_key="any", base_url=upstream.url, httpx_client=web)


@pytest.fixture
def client(upstream: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.base_url, api_key="sk-any", max_retries=0) as made:
        yield made


def speak_text(client: openai.OpenAI, text: str = TEXT, form: Any = "mp3", **more: Any) -> bytes:
    answer = client.audio.speech.create(
        model="tts-1", voice="alloy", input=text, response_format=form, **more
    )
    return answer.content


def split_mp3(audio: bytes) -> list[bytes]:
    """Return the layer III frames, of which nothing may be left over."""
    frames = []
    while audio:
        kind, rates = audio[1], {0xFB: (44100, 48000, 32000), 0xF3: (22050, 24000, 16000)}[audio[1]]
        steps = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192) if kind == 0xFB else (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)  # fmt: skip
        kbps, rate = steps[(audio[2] >> 4) - 1], rates[audio[2] >> 2 & 3]
        size = (144 if kind == 0xFB else 72) * kbps * 1000 // rate
        assert audio[0] == 0xFF
        assert len(audio) >= size, "the last frame is cut"
        frames.append(audio[:size])
        audio = audio[size:]
    return frames


@pytest.mark.parametrize("form", ["mp3_44100_128", "mp3_44100_32", "mp3_22050_32", "mp3_24000_48"])
def test_an_mp3_is_whole_frames_as_long_as_the_text(eleven: ElevenLabs, form: str) -> None:
    audio = b"".join(eleven.text_to_speech.convert(ADAM, text=TEXT * 10, output_format=form))
    _, rate, _ = form.split("_")
    seconds = len(split_mp3(audio)) * (1152 if rate == "44100" else 576) / int(rate)
    assert seconds == pytest.approx(len(TEXT) * 10 * 0.02, abs=0.03)


def test_a_wav_that_is_sent_whole_states_its_length(eleven: ElevenLabs) -> None:
    with wave.open(
        io.BytesIO(b"".join(eleven.text_to_speech.convert(ADAM, text=TEXT, output_format="wav_16000")))
    ) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.getnframes() / 16000 == pytest.approx(len(TEXT) * 0.02)
    streamed = b"".join(eleven.text_to_speech.stream(ADAM, text=TEXT, output_format="wav_16000"))
    assert streamed[4:8] == streamed[40:44] == b"\xff" * 4


def test_opus_comes_in_pages_of_which_the_last_says_so(client: openai.OpenAI) -> None:
    audio = speak_text(client, TEXT * 40, "opus")
    pages = audio.split(b"OggS")[1:]
    assert b"OpusHead" in pages[0]
    assert [page[1] for page in pages] == [2, 0, *[0] * (len(pages) - 3), 4]
    granules = [struct.unpack_from("<Q", page, 2)[0] for page in pages]
    assert granules[-1] / 48000 == pytest.approx(len(TEXT) * 40 * 0.02, abs=0.03)


def test_flac_aac_and_pcm_begin_as_they_should(client: openai.OpenAI) -> None:
    assert speak_text(client, form="flac")[:8] == b"fLaC\x80\x00\x00\x22"
    aac = speak_text(client, form="aac")
    size = (aac[3] & 3) << 11 | aac[4] << 3 | aac[5] >> 5
    assert {aac[at : at + 2] for at in range(0, len(aac), size)} == {b"\xff\xf1"}
    assert len(speak_text(client, form="pcm")) == round(len(TEXT) * 0.02 * 24000) * 2


def test_the_same_text_sounds_the_same_and_another_otherwise(client: openai.OpenAI) -> None:
    for form in ("mp3", "opus", "flac", "pcm"):
        assert speak_text(client, form=form) == speak_text(client, form=form)
        assert speak_text(client, form=form) != speak_text(client, TEXT[::-1], form)


def test_twice_the_speed_takes_half_the_time(client: openai.OpenAI) -> None:
    assert 2 * len(speak_text(client, form="pcm", speed=2)) == len(speak_text(client, form="pcm"))


def test_a_stream_comes_in_several_pieces(
    upstream: Simulator, web: httpx.Client, client: openai.OpenAI
) -> None:
    with web.stream(
        "POST",
        f"{upstream.url}/v1/text-to-speech/{ADAM}/stream",
        json={"text": TEXT},
        headers={"xi-api-key": "any"},
    ) as heard:
        assert len(list(heard.iter_raw())) > 2
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TEXT
    ) as answer:
        assert len(list(answer.iter_bytes())) > 2


def test_every_character_has_its_moment(eleven: ElevenLabs) -> None:
    whole = eleven.text_to_speech.convert_with_timestamps(ADAM, text=TEXT)
    assert whole.alignment
    assert "".join(whole.alignment.characters) == TEXT
    ends = whole.alignment.character_end_times_seconds
    assert whole.alignment.character_start_times_seconds[1:] == ends[:-1]
    assert ends[-1] == pytest.approx(len(TEXT) * 0.02)
    pieces = list(eleven.text_to_speech.stream_with_timestamps(ADAM, text=TEXT))
    assert len(pieces) > 2
    joined = b"".join(base64.b64decode(piece.audio_base_64) for piece in pieces)
    assert joined == base64.b64decode(whole.audio_base_64)
    spelt = itertools.chain.from_iterable(piece.alignment.characters for piece in pieces if piece.alignment)
    assert "".join(spelt) == TEXT


def test_headers_have_request_id_and_cost(eleven: ElevenLabs) -> None:
    speech = eleven.text_to_speech.with_raw_response
    with speech.convert(ADAM, text=TEXT, model_id="eleven_v4") as answer:
        assert answer.headers["character-cost"] == str(len(TEXT))
        first = answer.headers["request-id"]
    with speech.stream(ADAM, text=TEXT, model_id="eleven_flash_v2_5") as answer:
        assert answer.headers["character-cost"] == str(round(len(TEXT) / 2))
        assert answer.headers["request-id"] not in {"", first}


def test_voices_are_searched_page_by_page(eleven: ElevenLabs) -> None:
    names, token = [], None
    while True:
        page = eleven.voices.search(page_size=5, next_page_token=token)
        names += [voice.name for voice in page.voices]
        token = page.next_page_token
        if not page.has_more:
            break
    assert names == [voice.name for voice in eleven.voices.get_all().voices]
    assert len(names) == page.total_count == 13
    assert [voice.name for voice in eleven.voices.search(search="brit", gender="male").voices] == [
        "Daniel",
        "George",
    ]
    assert eleven.voices.get(ADAM).name == "Adam"


def test_a_voice_is_cloned_speaks_and_is_deleted(upstream: Simulator, eleven: ElevenLabs) -> None:
    recording = b"".join(eleven.text_to_speech.convert(ADAM, text=TEXT))
    made = eleven.voices.ivc.create(
        name="Ann", files=[("a.mp3", recording)], description="calm", labels={"language": "de"}
    )
    info = eleven.voices.get(made.voice_id)
    assert (info.name, info.category, info.description, info.labels) == (
        "Ann",
        "cloned",
        "calm",
        {"language": "de"},
    )
    assert list(eleven.text_to_speech.convert(made.voice_id, text=TEXT))
    eleven.voices.delete(made.voice_id)
    with pytest.raises(ApiError, match="voice_not_found"):
        eleven.voices.get(made.voice_id)
    assert (upstream.counts["cloned"], upstream.counts["deleted"]) == (1, 1)


def test_a_reset_forgets_cloned_voices(upstream: Simulator, eleven: ElevenLabs) -> None:
    made = eleven.voices.ivc.create(name="Ann", files=[("a.wav", b"RIFF")], labels={})
    upstream.reset()
    with pytest.raises(ApiError):
        eleven.voices.get(made.voice_id)


def test_both_vendors_list_their_models_at_one_address(eleven: ElevenLabs, client: openai.OpenAI) -> None:
    limits = {model.model_id: model.maximum_text_length_per_request for model in eleven.models.list()}
    assert limits["eleven_flash_v2_5"] == 40_000
    assert "gpt-4o-mini" in {model.id for model in client.models.list()}


@pytest.mark.parametrize(
    ("voice", "body", "status", "expected"),
    [
        ("nope", {"text": TEXT}, 400, "invalid_uid"),
        ("Voice0000000000000ff", {"text": TEXT}, 404, "voice_not_found"),
        (ADAM, {"text": ""}, 400, "input_text_empty"),
        (ADAM, {"text": "x" * 10_001}, 400, "max_character_limit_exceeded"),
        (ADAM, {"text": TEXT, "model_id": "eleven_v0"}, 400, "model_not_found"),
        (ADAM, {"text": TEXT, "output_format": "mp3_1_1"}, 422, "output_format"),
    ],
)  # fmt: skip
def test_invalid_requests_are_rejected_in_the_shape_of_the_vendor(
    eleven: ElevenLabs, voice: str, body: Any, status: int, expected: str
) -> None:
    with pytest.raises(ApiError) as caught:
        list(eleven.text_to_speech.convert(voice, **body))
    assert caught.value.status_code == status
    detail = caught.value.body["detail"]
    assert (detail[0]["loc"][-1] if status == 422 else detail["status"]) == expected


def test_faults_strike_in_the_vendors_shape(upstream: Simulator, eleven: ElevenLabs) -> None:
    upstream.fail(Fault.status(401, code="quota_exceeded"))
    with pytest.raises(ApiError) as caught:
        list(eleven.text_to_speech.convert(ADAM, text=TEXT))
    assert caught.value.status_code == 401
    assert caught.value.body["detail"]["status"] == "quota_exceeded"
    upstream.fail(Fault.html(), path="text-to-speech")
    page = b"".join(eleven.text_to_speech.convert(ADAM, text=TEXT))  # the client takes it for audio
    assert page.startswith(b"<!doctype html>")
    assert upstream.counts["speech"] == 0


def test_a_missing_and_a_wrong_key_are_refused(web: httpx.Client) -> None:
    def ask_with(key: str | None) -> str | None:
        name: str | None = (
            ElevenLabs(api_key=key, base_url=strict.url, httpx_client=web).voices.get(ADAM).name
        )
        return name

    with Simulator(api_keys={"right"}) as strict:
        with pytest.raises(ApiError, match="needs_authorization"):
            ask_with(None)
        with pytest.raises(ApiError, match="invalid_api_key"):
            ask_with("wrong")
        assert ask_with("right") == "Adam"


def test_openais_limit_and_voices_are_held(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="at most 4096 characters"):
        speak_text(client, "x" * 4097)
    with pytest.raises(openai.BadRequestError, match="marin"):
        client.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)


def test_a_voice_that_is_not_installed_is_reported() -> None:
    with pytest.raises(ConfigError, match="unknown voice 'espaek'"):
        Simulator(voice="espaek")
