"""The voice `openai`: requests, speech, and traits."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import wave
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from llmcore.contracts import (
    AsyncVoiceModels,
    AsyncVoiceProvider,
    AsyncVoiceStreaming,
    VoiceModels,
    VoiceOffline,
    VoiceProvider,
    VoiceStreaming,
)
from llmcore.errors import BadRequest, ConfigError, TextTooLong, VoiceError, VoiceNotFound
from llmcore.types import Secret
from llmcore_openai_optimized.plugin import SpeechOptions, create_voice
from llmcore_openai_optimized.speech import OpenAIVoice
from llmcore_openai_optimized.speech_offline import SpeechOffline
from llmcore_testing.simulator import Fault, Simulator

TEXT = "It rains. Take an umbrella, please!"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def voice(upstream: Simulator) -> Iterator[OpenAIVoice]:
    made = OpenAIVoice(SpeechOptions(api_key=Secret("k"), base_url=upstream.base_url))
    yield made
    made.close()


def get_body(upstream: Simulator) -> Mapping[str, Any]:
    sent: Mapping[str, Any] = upstream.requests[-1].body
    return sent


def test_one_plugin_serves_two_kinds_and_loads_no_sdk_for_either() -> None:
    program = (
        "import sys, llmcore_openai_optimized.plugin as p;"
        "voice = next(iter(p.llmcore_voice_providers())); llm = next(iter(p.llmcore_llm_providers()));"
        "voice.offline(voice.options()).voice_traits(None, {});"
        "print(voice.name, llm.name, [m for m in ('openai', 'httpx2', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openai openai []"


def test_every_ability_of_a_voice_is_there_sync_and_async(voice: OpenAIVoice) -> None:
    abilities = (
        VoiceProvider, VoiceStreaming, VoiceModels, VoiceOffline, AsyncVoiceProvider, AsyncVoiceStreaming, AsyncVoiceModels,
    )  # fmt: skip
    assert [ability.__name__ for ability in abilities if not isinstance(voice, ability)] == []


def test_settings_are_sent_as_the_vendor_wants_them(upstream: Simulator, voice: OpenAIVoice) -> None:
    voice.synthesize(TEXT)
    assert get_body(upstream) == {"model": "tts-1", "input": TEXT, "voice": "alloy", "response_format": "mp3"}
    voice.synthesize(TEXT, "marin", model="gpt-4o-mini-tts", format="opus", speed=2, instructions="Whisper.")
    assert get_body(upstream) == {
        "model": "gpt-4o-mini-tts",
        "input": TEXT,
        "voice": "marin",
        "response_format": "opus",
        "speed": 2.0,
        "instructions": "Whisper.",
    }
    voice.synthesize(TEXT, "voice_1234")  # one of the caller's own
    assert get_body(upstream)["voice"] == {"id": "voice_1234"}


def test_options_are_defaults_for_calls(upstream: Simulator) -> None:
    options = SpeechOptions(
        api_key=Secret("k"), base_url=upstream.base_url, voice="nova", model="gpt-4o-mini-tts", format="pcm",
        speed=1.5, instructions="Gently.",
    )  # fmt: skip
    voice = OpenAIVoice(options)
    speech = voice.synthesize(TEXT, speed=3)
    assert (speech.voice, speech.format, speech.sample_rate_hz) == ("nova", "pcm", 24_000)
    assert (get_body(upstream)["speed"], get_body(upstream)["instructions"]) == (3.0, "Gently.")
    assert speech.duration_s == pytest.approx(len(TEXT) * 0.02 / 3, abs=0.001)
    voice.close()


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_every_format_comes_as_its_traits_say(voice: OpenAIVoice, form: str) -> None:
    traits = voice.voice_traits(None, {"format": form})
    speech = voice.synthesize(TEXT, format=form)
    assert (speech.format, speech.sample_rate_hz) == (form, traits.sample_rate_hz)
    assert traits.format == form
    assert asyncio.run(voice.asynthesize(TEXT, format=form)).audio == speech.audio


def test_a_wav_states_its_length_except_in_a_stream(voice: OpenAIVoice) -> None:
    speech = voice.synthesize(TEXT, format="wav")
    with wave.open(io.BytesIO(speech.audio)) as file:
        assert file.getframerate() == speech.sample_rate_hz == 24_000
        assert file.getnframes() / 24_000 == speech.duration_s == pytest.approx(len(TEXT) * 0.02)
    streamed = b"".join(voice.stream_speech(TEXT, format="wav"))
    assert streamed[4:8] == streamed[40:44] == b"\xff" * 4
    assert streamed[44:] == speech.audio[44:]


def test_the_first_piece_comes_before_the_last_is_sent(upstream: Simulator, voice: OpenAIVoice) -> None:
    async def first() -> bytes:
        pieces = voice.astream_speech(TEXT, timeout_s=30.0, idle_s=30.0)
        try:
            return await anext(pieces)
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]

    upstream.fail(Fault.stall(after=2), times=2)
    pieces = voice.stream_speech(TEXT, timeout_s=30.0, idle_s=30.0)
    assert next(pieces)[:2] == b"\xff\xf3"
    pieces.close()  # type: ignore[attr-defined]
    assert asyncio.run(first())[:2] == b"\xff\xf3"
    assert upstream.wait_for(lambda: upstream.in_flight == 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"instruction": "x"}, "did you mean `instructions`"),
        ({"speed": 5}, "0.25 to 4"),
        ({"speed": True}, "0.25 to 4"),
        ({"format": "mp4"}, "did you mean `mp3`"),
        ({"format": "ulaw"}, "mp3, opus"),
        ({"format": []}, "mp3, opus"),
        ({"instructions": "x"}, "tts-1 does not support instructions"),
        ({"instructions": 3, "model": "gpt-4o-mini-tts"}, "instructions must be text, got 3"),
        ({"model": ""}, "name of a model"),
        ({"seed": 3}, "unknown setting `seed`"),
        ({"language": "German!"}, 'such as "de"'),
        ({"language": 7}, 'such as "de"'),
    ],
)
def test_invalid_arguments_are_rejected_before_sending(
    upstream: Simulator, voice: OpenAIVoice, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        voice.synthesize(TEXT, **settings)
    assert said in str(caught.value)
    with pytest.raises(BadRequest):
        list(voice.stream_speech(TEXT, **settings))
    with pytest.raises(BadRequest):
        voice.voice_traits(None, settings)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [("", VoiceError), (" \n", VoiceError), ("x" * 4097, TextTooLong), ("a\ud83d", BadRequest)],
    ids=["empty", "blank", "long", "surrogate"],
)
def test_a_text_that_cannot_be_spoken_makes_no_call(
    upstream: Simulator, voice: OpenAIVoice, text: str, kind: type[Exception]
) -> None:
    async def asynchronously() -> None:
        await voice.asynthesize(text)

    with pytest.raises(kind):
        voice.synthesize(text)
    with pytest.raises(kind):
        list(voice.stream_speech(text))
    with pytest.raises(kind):
        asyncio.run(asynchronously())
    assert upstream.requests == []


def test_the_longest_text_is_spoken(voice: OpenAIVoice) -> None:
    assert voice.synthesize("x" * 4096).characters == voice.voice_traits(None, {}).max_characters == 4096


def test_known_prices_are_per_character(voice: OpenAIVoice) -> None:
    assert voice.synthesize(TEXT).cost == Decimal("0.000015") * len(TEXT)
    assert voice.synthesize(TEXT, model="tts-1-hd").cost == Decimal("0.00003") * len(TEXT)
    assert voice.synthesize(TEXT, model="gpt-4o-mini-tts").cost is None
    assert voice.speech_price("tts-1", 1_000_000) == 15


def test_models_say_until_when_they_speak(voice: OpenAIVoice) -> None:
    models = voice.list_voice_models()
    assert [model.model_id for model in models] == ["gpt-4o-mini-tts", "tts-1", "tts-1-hd"]
    assert all("2027-01-06" in (model.description or "") for model in models)


def test_a_voice_that_the_server_does_not_know_is_not_found(voice: OpenAIVoice) -> None:
    with pytest.raises(VoiceNotFound, match="nobody"):
        voice.synthesize(TEXT, "nobody")
    with pytest.raises(VoiceNotFound, match="shimmer"):
        voice.get_voice_info("nobody")


def test_a_compatible_server_may_have_other_voices(upstream: Simulator, voice: OpenAIVoice) -> None:
    upstream.fail(Fault.status(400, message="voice 'af_x' does not exist"))
    with pytest.raises(VoiceNotFound):
        voice.synthesize(TEXT, "af_x")
    assert get_body(upstream)["voice"] == "af_x"


def test_azure_is_asked_for_the_deployment(upstream: Simulator) -> None:
    voice = OpenAIVoice(
        SpeechOptions(
            api_key=Secret("k"), azure_endpoint=upstream.url, api_version="2025-03-01", model="mine"
        )
    )
    assert voice.synthesize(TEXT).audio
    assert upstream.requests[-1].path == "/openai/deployments/mine/audio/speech"
    assert upstream.requests[-1].headers["api-key"] == "k"
    voice.close()


def test_missing_options_are_named_as_voice_settings() -> None:
    for options in (
        SpeechOptions(),
        SpeechOptions(api_key=Secret("k"), base_url="localhost"),
        SpeechOptions(api_key=Secret("a b")),
        SpeechOptions(azure_endpoint="https://x"),
    ):
        with pytest.raises(ConfigError) as caught:
            create_voice(options)
        said = f"{caught.value}{caught.value.where}{caught.value.fix}"
        assert "[voice.openai]" in said
        assert "llm.openai" not in said
        assert "llm provider" not in said
        assert "echo" not in said


def test_traits_differ_for_different_audio_and_contain_no_key(upstream: Simulator) -> None:
    def identity(key: str = "sk-canary-1", **more: Any) -> str:
        options = SpeechOptions(api_key=Secret(key), **{"base_url": upstream.base_url, **more})
        return repr(
            sorted(SpeechOffline(options).voice_traits(None, {"model": "gpt-4o-mini-tts"}).identity.items())
        )

    seen = [
        identity(),
        identity("sk-canary-2"),
        identity(base_url="http://elsewhere"),
        identity(speed=2),
        identity(instructions="x"),
    ]
    assert len(set(seen)) == len(seen)
    assert "canary" not in "".join(seen)
