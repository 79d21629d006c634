"""The conformance kit of voices on `openai`, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from llmcore.types import Secret
from llmcore_openai_optimized.options import SpeechOptions
from llmcore_openai_optimized.speech import OpenAIVoice
from llmcore_testing.conformance import VoiceConformance
from llmcore_testing.simulator import Simulator

CANARY = "sk-canary-2c8f"


class SpeechConformance(VoiceConformance):
    settings: ClassVar[Mapping[str, Any]] = {
        "speed": 1.5,
        "model": "gpt-4o-mini-tts",
        "instructions": "calmly",
    }
    formats = ("wav", "pcm", "mp3", "opus", "flac")
    lacks = ("synthesize_with_timestamps", "search_voices", "clone_voice")
    format: ClassVar[Any]

    @pytest.fixture
    def provider(self) -> Iterator[OpenAIVoice]:
        with Simulator(voice="espeak") as upstream:
            self.options: dict[str, Any] = {
                "api_key": Secret(CANARY),
                "base_url": upstream.base_url,
                "format": self.format,
            }
            yield OpenAIVoice(SpeechOptions(**self.options))

    @pytest.fixture
    def broken(self, upstream: Simulator) -> OpenAIVoice:
        return OpenAIVoice(
            SpeechOptions(api_key=Secret(CANARY), base_url=upstream.base_url, format=self.format)
        )

    @pytest.fixture(
        params=[{"speed": 1.5}, {"model": "tts-1-hd"}],
        ids=lambda options: next(iter(options)),
    )
    def variation(self, provider: OpenAIVoice, request: pytest.FixtureRequest) -> OpenAIVoice:
        del provider  # makes the options
        return OpenAIVoice(SpeechOptions(**self.options, **request.param))

    @pytest.fixture
    def canary(self) -> str:
        return CANARY


@pytest.mark.slow
class Shorter(SpeechConformance):
    """Without the tests of texts that take most of the time; `TestPcm` runs them, and no text depends on the format."""

    test_a_hostile_text_is_spoken_or_rejected_without_harm = None  # type: ignore[assignment]
    test_a_long_text_is_spoken_to_its_end_or_rejected = None  # type: ignore[assignment]


class TestMp3(Shorter):
    format = "mp3"


class TestWav(Shorter):
    format = "wav"


class TestPcm(SpeechConformance):
    format = "pcm"
