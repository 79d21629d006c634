"""The conformance kit of voices, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from llmcore.types import Secret
from llmcore_testing.conformance import VoiceConformance
from llmcore_testing.simulator import Simulator
from llmcore_testing.simulator.sounds import Codec, speak
from llmcore_voice_tts.plugin import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice

CANARY = "sk_canary_0123456789abcdef"


class ElevenLabsConformance(VoiceConformance):
    settings: ClassVar[Mapping[str, Any]] = {"speed": 1.1, "stability": 0.4, "seed": 7, "language": "de-AT"}
    samples: ClassVar[Sequence[bytes]] = (speak("A recording of a person.", Codec("mp3", 44100, 128)),)
    formats = ("wav", "pcm", "mp3", "opus", "ulaw", "alaw")
    format: ClassVar[str]

    @pytest.fixture
    def provider(self) -> Iterator[ElevenLabsVoice]:
        with Simulator(voice="espeak") as upstream:
            self.options: dict[str, Any] = {
                "api_key": Secret(CANARY),
                "base_url": upstream.url,
                "format": self.format,
            }
            yield ElevenLabsVoice(ElevenLabsOptions(**self.options))

    @pytest.fixture
    def broken(self, upstream: Simulator) -> ElevenLabsVoice:
        return ElevenLabsVoice(
            ElevenLabsOptions(api_key=Secret(CANARY), base_url=upstream.url, format=self.format)
        )

    @pytest.fixture(params=[{"speed": 1.1}, {"stability": 0.4}], ids=lambda options: next(iter(options)))
    def variation(self, provider: ElevenLabsVoice, request: pytest.FixtureRequest) -> ElevenLabsVoice:
        del provider  # makes the options
        return ElevenLabsVoice(ElevenLabsOptions(**self.options, **request.param))

    @pytest.fixture
    def canary(self) -> str:
        return CANARY


class Shorter(ElevenLabsConformance):
    """Without the tests of texts that take most of the time; `TestPcm` runs them, and no text depends on the format."""

    test_a_hostile_text_is_spoken_or_rejected_without_harm = None  # type: ignore[assignment]
    test_a_long_text_is_spoken_to_its_end_or_rejected = None  # type: ignore[assignment]


class TestMp3(Shorter):
    format = "mp3"


class TestWav(Shorter):
    format = "wav"


class TestPcm(ElevenLabsConformance):
    format = "pcm_16000"
