"""One application speaks with three vendors by configuration only; invalid audio is never returned."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import soundfile

import llmcore
from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    LLMCoreError,
    NotAudio,
    QuotaExhausted,
    Timeout,
    VoiceError,
    VoiceNotFound,
)
from llmcore.types import Speech
from llmcore_testing import Fault, Simulator

STORY = "It rains in the mountains. Take an umbrella, please! Who is at the door? Peter answers."
SENTENCES = 4
KEY = "sk_canary-of-three"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator(api_keys={KEY}) as simulator:
        yield simulator


@pytest.fixture(params=["elevenlabs", "openai", "espeak"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_settings(upstream: Simulator, provider: str, **more: Any) -> dict[str, Any]:
    """Return the settings, of which one word says who speaks."""
    return {
        "voice": {
            "provider": provider,
            "elevenlabs": {"api_key": KEY, "base_url": upstream.url},
            "openai": {"api_key": KEY, "base_url": upstream.base_url},
        },
        "cache": {"provider": "memory"},
        **more,
    }


def decode(audio: bytes) -> tuple[float, int]:
    """Return the seconds and the rate of a file, as a library that is not ours decodes it."""
    samples, rate = soundfile.read(io.BytesIO(audio))
    return len(samples) / rate, rate


def application(core: llmcore.Core) -> tuple[Speech, bytes]:
    """Speak as an application that is independent of the vendor."""
    speech = core.voice.synthesize(STORY, format="wav")
    chosen = core.voice.list_voices()[0]
    assert core.voice.get_voice_info(chosen.voice_id).name == chosen.name
    return speech, b"".join(core.voice.stream(STORY, format="wav", cache=False))


def test_one_application_speaks_with_each_vendor_by_one_word(upstream: Simulator, provider: str) -> None:
    with llmcore.load(make_settings(upstream, provider)) as core:
        speech, streamed = application(core)
        again = core.voice.synthesize(STORY, format="wav")
    seconds, rate = decode(speech.audio)
    assert (speech.provider, speech.format, speech.sample_rate_hz) == (provider, "wav", rate)
    assert seconds == pytest.approx(speech.duration_s, abs=0.01)
    assert seconds > 1.5
    assert speech.cost is not None
    assert streamed[:4] == b"RIFF"
    assert again.cached
    assert again.audio == speech.audio
    if provider != "espeak":
        assert seconds == pytest.approx(
            len(STORY.replace(". ", ".").replace("! ", "!").replace("? ", "?")) * 0.02, abs=0.05
        )
        assert upstream.counts["speech"] == SENTENCES + 1


def test_common_settings_are_accepted_by_every_provider(upstream: Simulator, provider: str) -> None:
    with llmcore.load(make_settings(upstream, provider)) as core:
        speech = core.voice.synthesize("Guten Tag.", format="wav", speed=1.1, language="de")
        with pytest.raises(BadRequest):
            core.voice.synthesize("Guten Tag.", language=7)  # type: ignore[arg-type]
    assert (speech.provider, speech.format) == (provider, "wav")
    if provider == "openai":  # which has no field for it
        assert "language" not in upstream.requests[-1].body


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
@pytest.mark.parametrize("form", ["wav", "mp3", "opus", "pcm"])
def test_the_words_of_the_vendor_are_returned_unchanged(provider: str, form: str) -> None:
    """Held against the same words of the voice itself: length, rate, and when it is loud and when quiet."""
    with Simulator(api_keys={KEY}, voice="espeak") as speaking:
        with llmcore.load(make_settings(speaking, provider)) as core:
            speech = core.voice.synthesize(STORY, format=form, cache=False)
            streamed = b"".join(core.voice.stream(STORY, format=form, cache=False))
        pieces = speaking.counts["speech"]
    assert pieces == 2
    with llmcore.load({"voice": {"provider": "espeak"}}) as core:
        said = core.voice.synthesize(STORY, format="wav", cache=False)
    if form != "wav":  # whose head does not know its length when it is streamed
        assert streamed == speech.audio
    expected = measure_loudness(said.audio)
    got = measure_loudness(speech.audio, raw_hz=speech.sample_rate_hz if form == "pcm" else None)
    assert speech.duration_s == pytest.approx(said.duration_s, abs=0.12)
    assert len(got) == pytest.approx(len(expected), abs=2)
    assert compute_likeness(expected, got) > 0.9


def measure_loudness(audio: bytes, raw_hz: int | None = None) -> Any:
    """Return how loud each twentieth of a second is."""
    raw = {"format": "RAW", "subtype": "PCM_16", "channels": 1, "samplerate": raw_hz} if raw_hz else {}
    samples, rate = soundfile.read(io.BytesIO(audio), **raw)
    step = rate // 20
    return (samples[: len(samples) // step * step].reshape(-1, step) ** 2).mean(axis=1) ** 0.5


def compute_likeness(one: Any, other: Any) -> float:
    """Return the similarity of two courses, 1.0 for equal ones, at the best of the few shifts that an encoder may add."""
    size = min(len(one), len(other)) - 3
    return max(float(np.corrcoef(one[:size], other[at : at + size])[0, 1]) for at in range(4))


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
@pytest.mark.parametrize("form", ["mp3", "opus", "wav"])
def test_audio_of_the_vendors_decodes_in_every_format(upstream: Simulator, provider: str, form: str) -> None:
    with llmcore.load(make_settings(upstream, provider)) as core:
        speech = core.voice.synthesize(STORY, format=form)
    seconds, _ = decode(speech.audio)
    assert seconds == pytest.approx(len(STORY) * 0.02, abs=0.3)
    assert speech.duration_s == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    ("provider", "each"), [("elevenlabs", Decimal("0.00008")), ("openai", Decimal("0.000015"))]
)
def test_a_changed_sentence_pays_for_one(upstream: Simulator, provider: str, each: Decimal) -> None:
    with llmcore.load(make_settings(upstream, provider)) as core:
        core.voice.synthesize(STORY)
        asked = upstream.counts["speech"]
        changed = core.voice.synthesize(STORY.replace("Peter answers", "Ann answers"))
    assert upstream.counts["speech"] - asked == 1
    assert changed.billed_characters == len("Ann answers.")
    assert changed.cost == each * len("Ann answers.")


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
def test_a_hundred_thousand_characters_are_spoken_in_pieces_that_fit(
    upstream: Simulator, provider: str
) -> None:
    text = "It rains, and it does not stop to rain. " * 2500
    with llmcore.load(make_settings(upstream, provider)) as core:
        speech = core.voice.synthesize(text, cache=False, format="mp3")
    most = 10_000 if provider == "elevenlabs" else 4096
    sent = [request.body.get("text") or request.body.get("input") for request in upstream.requests]
    assert max(map(len, sent)) <= most
    assert speech.characters == sum(map(len, sent))
    assert len(sent) <= 100_000 // most + 3
    assert decode(speech.audio)[0] == pytest.approx(2000, rel=0.01)


def test_a_request_names_the_earlier_pieces(upstream: Simulator) -> None:
    with llmcore.load(make_settings(upstream, "elevenlabs")) as core:
        core.voice.synthesize(STORY, cache=False)
        core.voice.synthesize(STORY, cache=True)
    bodies = [request.body for request in upstream.requests[1:]]
    assert len(bodies) == SENTENCES
    assert any("previous_text" in body or "previous_request_ids" in body for body in bodies)


def test_the_text_after_is_sent_only_with_the_last_piece(upstream: Simulator) -> None:
    with llmcore.load(make_settings(upstream, "elevenlabs")) as core:
        core.voice.synthesize("One. Two. Three.", next_request_ids=["later"])
    next_ids = {sent.body["text"]: sent.body.get("next_request_ids") for sent in upstream.requests}
    assert next_ids == {"One.": None, "Two.": None, "Three.": ["later"]}


def test_every_character_has_its_moment_across_the_pieces(upstream: Simulator) -> None:
    with llmcore.load(make_settings(upstream, "elevenlabs")) as core:
        speech = core.voice.synthesize_with_timestamps(STORY, format="wav")
    assert "".join(character for character, _, _ in speech.alignment) == STORY
    starts = [start for _, start, _ in speech.alignment]
    assert starts == sorted(starts)
    assert speech.alignment[-1][2] == pytest.approx(decode(speech.audio)[0], abs=0.05)


def test_a_voice_that_fails_is_followed_by_another(upstream: Simulator) -> None:
    settings = make_settings(upstream, "elevenlabs")
    settings["voice"]["fallback"] = ["openai", "espeak"]
    upstream.fail(Fault.status(401, code="quota_exceeded"), times=None, path="text-to-speech")
    with llmcore.load(settings) as core:
        assert core.voice.synthesize("Hello.").provider == "openai"
        upstream.fail(Fault.status(401), times=None, path="audio/speech")
        assert core.voice.synthesize("Hello there.").provider == "espeak"
        assert core.voice.synthesize("Guten Tag.", language="de").provider == "espeak"


@pytest.mark.parametrize("given", [{"speed": 0.6}, {"format": "flac"}, {"language": "en-GB", "speed": 2.5}])
def test_a_fallback_that_cannot_say_it_so_does_not_keep_a_later_one_from_it(
    upstream: Simulator, given: dict[str, Any]
) -> None:
    settings = make_settings(upstream, "openai")
    settings["voice"]["fallback"] = ["elevenlabs", "espeak"]
    upstream.fail(Fault.status(401), times=None, path="audio/speech")
    with llmcore.load(settings) as core:
        assert core.voice.synthesize("Hello.", **given).provider == "espeak"


def test_timestamps_come_from_the_fallback_that_has_them(upstream: Simulator) -> None:
    settings = make_settings(upstream, "elevenlabs")
    settings["voice"]["fallback"] = ["openai", "espeak"]
    upstream.fail(Fault.status(401), times=None, path="text-to-speech")
    with llmcore.load(settings) as core:
        assert core.voice.synthesize_with_timestamps("Hello.").provider == "espeak"


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (Fault.html(), NotAudio),
        (Fault.status(200, body={"audio": None}), NotAudio),
        (Fault.empty_body(), NotAudio),
        (Fault.reset(after=2), LLMCoreError),
        (Fault.cut_stream(after=2, clean=False), LLMCoreError),
        (Fault.cut_stream(after=2), LLMCoreError),
        (Fault.status(401, code="invalid_api_key"), AuthenticationFailed),
    ],
    ids=["html", "json", "empty", "rst", "cut", "cut_clean", "key"],
)
@pytest.mark.parametrize("variant", ["sync", "async"])
def test_invalid_or_truncated_audio_is_never_returned(
    upstream: Simulator, provider: str, fault: Fault, kinds: type[LLMCoreError], variant: str
) -> None:
    def speak(core: llmcore.Core) -> Speech:
        text = "Hello there, old friend."
        return core.voice.synthesize(text) if variant == "sync" else asyncio.run(core.voice.asynthesize(text))

    upstream.fail(fault, times=None)
    once = {"attempts": 1, "deadline": "20s"}
    with llmcore.load(make_settings(upstream, provider, retry=once)) as core, pytest.raises(kinds) as caught:
        speak(core)
    assert KEY not in str(caught.value)
    upstream.reset()
    with llmcore.load(make_settings(upstream, provider)) as core:  # nothing was cached
        assert not speak(core).cached


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
@pytest.mark.parametrize("fault", [Fault.status(429, retry_after=0), Fault.status(500), Fault.reset()])
def test_temporary_errors_are_retried_by_the_host(upstream: Simulator, provider: str, fault: Fault) -> None:
    upstream.fail(fault)
    with llmcore.load(make_settings(upstream, provider)) as core:
        assert core.voice.synthesize("Hello.").audio
    assert upstream.counts["requests"] == 2


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
@pytest.mark.parametrize("fault", [Fault.hang(), Fault.slow(bytes_per_second=100)], ids=["hang", "slow"])
def test_a_deadline_holds(upstream: Simulator, provider: str, fault: Fault) -> None:
    upstream.fail(fault, times=None)
    with llmcore.load(make_settings(upstream, provider)) as core, pytest.raises(Timeout):
        core.voice.synthesize(STORY, timeout=0.5)


def test_an_unspeakable_text_makes_no_request(upstream: Simulator, provider: str) -> None:
    with llmcore.load(make_settings(upstream, provider)) as core:
        for text in ("", " \n", "a\ud83d"):
            with pytest.raises(LLMCoreError):
                core.voice.synthesize(text)
        with pytest.raises(VoiceError):
            list(core.voice.stream(""))
    assert upstream.requests == []


@pytest.mark.parametrize("provider", ["elevenlabs", "openai"])
def test_a_missing_voice_is_reported(upstream: Simulator, provider: str) -> None:
    with llmcore.load(make_settings(upstream, provider)) as core, pytest.raises(VoiceNotFound):
        core.voice.synthesize("Hello.", "nobody")


def test_a_quota_that_is_used_up_is_not_tried_again(upstream: Simulator) -> None:
    upstream.fail(Fault.status(401, code="quota_exceeded"), times=None)
    with llmcore.load(make_settings(upstream, "elevenlabs")) as core, pytest.raises(QuotaExhausted):
        core.voice.synthesize("Hello.")
    assert upstream.counts["requests"] == 1
