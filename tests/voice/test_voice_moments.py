"""The times of characters are in order and within the speech, also if the vendor's times are not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcore
from llmcore.types import Speech

_SENTENCES = st.lists(st.text("ab \n", min_size=1, max_size=5), min_size=1, max_size=4)
_TIMES = st.floats(-0.2, 2.0) | st.just(float("nan"))


@pytest.mark.slow
@given(sentences=_SENTENCES, data=st.data(), cache=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_moments_never_run_backwards_and_end_with_the_speech(
    speaker: Any, *, sentences: list[str], data: st.DataObject, cache: bool
) -> None:
    text = "".join(f"{sentence}x. " for sentence in sentences)

    def speak_timed(self: Any, text: str, voice: str | None = None, **given: Any) -> Speech:
        speech: Speech = self.synthesize(text, voice, **given)
        times = tuple((letter, data.draw(_TIMES), data.draw(_TIMES)) for letter in text)
        return msgspec.structs.replace(speech, alignment=times)

    speaker.Speaker.synthesize_with_timestamps = speak_timed
    voice = llmcore.load({"voice": {"provider": "speaker"}, "cache": {"provider": "memory"}}).voice
    speech = voice.synthesize_with_timestamps(text, cache=cache)
    times = [time for _, begins, ends in speech.alignment for time in (begins, ends)]
    assert "".join(letter for letter, _, _ in speech.alignment) == text
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= (speech.duration_s or 0)


@pytest.mark.parametrize("method", ["synthesize", "stream"])
@pytest.mark.parametrize("cache", ["memory", "file"])
def test_audio_with_timestamps_is_reused_for_calls_without_them(
    speaker: Any, cache: str, method: str
) -> None:
    core = llmcore.load({"voice": {"provider": "speaker"}, "cache": {"provider": cache}})
    timed = core.voice.synthesize_with_timestamps("One. Two.")
    asked = len(speaker.requests)
    if method == "stream":
        assert len(b"".join(core.voice.stream("One. Two."))) == len(timed.audio)
    else:
        plain = core.voice.synthesize("One. Two. Three.")
        assert [request.text for request in speaker.requests[asked:]] == ["Three."]
        assert plain.billed_characters == len("Three.")
        assert plain.alignment == ()
        asked += 1
    assert len(speaker.requests) == asked
    # not the other way round: the audio without timestamps has none
    assert core.voice.synthesize("Four.").alignment == ()
    assert core.voice.synthesize_with_timestamps("Four.").billed_characters == len("Four.")


def test_a_speech_that_is_to_be_afresh_is_not_the_timed_one(speaker: Any) -> None:
    voice = llmcore.load({"voice": {"provider": "speaker"}, "cache": {"provider": "memory"}}).voice
    voice.synthesize_with_timestamps("One.")
    assert voice.synthesize("One.", cache="refresh").billed_characters == len("One.")
    assert voice.synthesize("One.", cache=False).billed_characters == len("One.")
    assert len(speaker.requests) == 3
