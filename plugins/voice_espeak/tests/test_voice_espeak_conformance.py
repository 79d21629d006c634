"""The published kit, run on the voice `espeak`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from llmcore_testing import VoiceConformance
from llmcore_voice_espeak.plugin import EspeakOptions
from llmcore_voice_espeak.provider import EspeakVoice


class TestEspeak(VoiceConformance):
    settings: ClassVar[Mapping[str, Any]] = {"speed": 1.5, "pitch": 70}
    formats = ("wav", "pcm", "mp3", "ogg", "flac")
    lacks = ("search_voices", "clone_voice", "broken", "canary")

    @pytest.fixture
    def provider(self) -> EspeakVoice:
        return EspeakVoice()

    @pytest.fixture(params=[{"speed": 1.5}, {"pitch": 70}], ids=lambda options: next(iter(options)))
    def variation(self, request: pytest.FixtureRequest) -> EspeakVoice:
        return EspeakVoice(EspeakOptions(**request.param))


class TestEspeakAsMp3(TestEspeak):
    test_a_hostile_text_is_spoken_or_rejected_without_harm = None  # type: ignore[assignment] # no text depends on the format

    @pytest.fixture
    def provider(self) -> EspeakVoice:
        return EspeakVoice(EspeakOptions(format="mp3", voice="en-gb+f2"))
