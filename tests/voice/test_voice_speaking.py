"""The voice client through the public door: pieces, their cache, their cost, and one speech of them all."""

from __future__ import annotations

import asyncio
import io
import threading
import wave
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import (
    BadRequest,
    NotAudio,
    PluginError,
    ProviderError,
    RateLimited,
    TextTooLong,
    VoiceError,
)
from llmcore.types import CallEvent, Speech

TEXT = "It rains. Take an umbrella! Bye."
SENTENCES = ["It rains.", "Take an umbrella!", "Bye."]


def load_core(options: dict[str, Any] | None = None, cache: str = "memory", **more: Any) -> llmcore.Core:
    voice = {"provider": "speaker", "speaker": options or {}, **more.pop("voice", {})}
    return llmcore.load({"voice": voice, "cache": {"provider": cache}, **more})


def list_texts(speaker: Any) -> list[str]:
    return [request.text for request in speaker.requests]


def measure_wav(audio: bytes) -> float:
    with wave.open(io.BytesIO(audio)) as file:
        count = int(file.getnframes())
        assert len(file.readframes(count)) == 2 * count
        return count / int(file.getframerate())


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_a_text_is_spoken_by_sentence_and_joined_to_one_file(speaker: Any, variant: str) -> None:
    voice = load_core().voice
    speech = voice.synthesize(TEXT) if variant == "sync" else asyncio.run(voice.asynthesize(TEXT))
    assert list_texts(speaker) == SENTENCES
    assert measure_wav(speech.audio) == pytest.approx(sum(map(len, SENTENCES)) / 10) == speech.duration_s
    assert speech.audio[44:] == b"".join(speaker.make_samples(each) for each in SENTENCES)
    assert (speech.format, speech.sample_rate_hz, speech.provider) == ("wav", 8000, "speaker")
    assert (speech.voice, speech.model, speech.cached) == ("anna", "m1", False)
    assert speech.characters == speech.billed_characters == sum(map(len, SENTENCES))
    assert speech.cost == Decimal(sum(map(len, SENTENCES)))


def test_only_a_changed_sentence_is_paid_for(speaker: Any) -> None:
    voice = load_core().voice
    first = voice.synthesize(TEXT)
    changed = voice.synthesize("It rains. Take a coat! Bye.")
    assert list_texts(speaker) == [*SENTENCES, "Take a coat!"]
    assert (changed.billed_characters, changed.cost, changed.cached) == (12, Decimal(12), False)
    assert changed.characters == 9 + 12 + 4
    assert changed.saved == Decimal(13)
    again = voice.synthesize(TEXT)
    assert len(speaker.requests) == 4
    assert (again.cached, again.cost, again.billed_characters) == (True, Decimal(0), 0)
    assert (again.audio, again.saved) == (first.audio, first.cost)


def test_a_sentence_is_cached_on_disk_without_its_text(speaker: Any, empty_home: Path) -> None:
    with load_core(cache="file") as core:
        spoken = core.voice.synthesize("A secret word.")
    speaker.requests.clear()
    with load_core(cache="file") as core:
        again = core.voice.synthesize("A secret word.")
    assert (again.cached, again.audio, speaker.requests) == (True, spoken.audio, [])
    files = [path.read_bytes() for path in empty_home.rglob("*") if path.is_file()]
    assert not any(b"secret word" in data for data in files)


@pytest.mark.parametrize(
    "change",
    [{"voice": "bob"}, {"model": "m2"}, {"speed": 2}, {"format": "pcm"}],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_changes_the_audio_is_in_the_key(speaker: Any, change: dict[str, Any]) -> None:
    voice = load_core().voice
    voice.synthesize("Hello.")
    if "format" in change:
        speaker.script.append(Speech(audio=bytes(100), format="pcm"))
    assert not voice.synthesize("Hello.", **change).cached
    assert voice.synthesize("Hello.").cached


def test_another_account_or_namespace_has_its_own_audio(speaker: Any) -> None:
    del speaker
    cache = {"provider": "file"}
    load_core(cache="file").voice.synthesize("Hello.")
    assert load_core(cache="file").voice.synthesize("Hello.").cached
    other: dict[str, Any] = {"provider": "speaker", "speaker": {"account": "two"}}
    assert not llmcore.load({"voice": other, "cache": cache}).voice.synthesize("Hello.").cached
    other["speaker"] = {}
    apart = {**cache, "namespace": "apart"}
    assert not llmcore.load({"voice": other, "cache": apart}).voice.synthesize("Hello.").cached


def test_without_the_cache_requests_are_as_long_as_the_model_takes(speaker: Any) -> None:
    voice = load_core({"limit": 27}).voice
    voice.synthesize(TEXT, cache=False)
    assert list_texts(speaker) == ["It rains. Take an umbrella!", "Bye."]
    voice.synthesize(TEXT, cache=False)
    assert len(speaker.requests) == 4


def test_refresh_speaks_afresh_and_keeps_that(speaker: Any) -> None:
    voice = load_core().voice
    voice.synthesize("Hello.")
    speaker.script.append(speaker.make_wav(bytes(1600)))
    fresh = voice.synthesize("Hello.", cache="refresh")
    assert not fresh.cached
    assert voice.synthesize("Hello.").audio == fresh.audio
    assert len(speaker.requests) == 2


def test_a_repeated_sentence_is_requested_once(speaker: Any) -> None:
    speech = load_core().voice.synthesize("No. No. Never.")
    assert list_texts(speaker) == ["No.", "Never."]
    assert speech.characters == 3 + 3 + 6
    assert speech.billed_characters == 9
    assert measure_wav(speech.audio) == pytest.approx(1.2)


@pytest.mark.slow
def test_a_sentence_over_the_limit_is_divided_and_a_hundred_thousand_characters_are_spoken(
    speaker: Any,
) -> None:
    text = "word and word, " * 6_667
    speech = load_core({"limit": 4_096}).voice.synthesize(text, cache=False)
    assert all(len(request.text) <= 4_096 for request in speaker.requests)
    assert "".join("".join(each.split()) for each in list_texts(speaker)) == "".join(text.split())
    assert measure_wav(speech.audio) == pytest.approx(speech.characters / 10)


@pytest.mark.slow
def test_a_long_text_of_many_sentences_is_spoken_and_cached(speaker: Any) -> None:
    text = " ".join(f"Sentence number {at} of many, and it is one." for at in range(2_400))
    assert len(text) > 100_000
    speaker.make_samples = lambda piece: b"\0" + piece.encode()
    voice = load_core({"format": "ulaw"}).voice
    voice.synthesize(text)
    assert len(speaker.requests) == 2_400
    assert voice.synthesize(text).cached


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing to say"),
        (" \n", "nothing to say"),
        (None, "nothing to say"),
        (b"bytes", "nothing to say"),
        ("half \ud83d of it", r"lone surrogate U\+D83D at index 5"),
        ("<speak>Hello", r"SSML is not well-formed: .*line 1"),
        ("<speak>a < b</speak>", "SSML is not well-formed"),
        ("<speak><break time='1s'>Hi</speak>", "mismatched tag"),
        ("<speak>Tom & Anna</speak>", "SSML is not well-formed"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>\n<speak>&a;</speak>", "DOCTYPE"),
        ("<?xml version='1.0'?><!-- hm --><speak>Hello", "SSML is not well-formed"),
        ("\ufeff", "nothing to say"),
        ("<speak/>", "nothing to say"),
        ("<?xml version='1.0'?>\n<speak>\n <p> </p></speak>", "nothing to say"),
    ],
)
def test_an_unspeakable_text_is_rejected_before_sending(speaker: Any, text: Any, said: str) -> None:
    with pytest.raises(VoiceError, match=said):
        load_core().voice.synthesize(text)
    assert speaker.requests == []


def test_a_format_that_cannot_be_joined_is_spoken_in_one_piece_or_refused(speaker: Any) -> None:
    import soundfile

    held = io.BytesIO()
    with soundfile.SoundFile(held, "w", samplerate=8000, channels=1, format="FLAC", subtype="PCM_16") as file:
        file.buffer_write(bytes(16_000), dtype="int16")
    speaker.script.append(held.getvalue())
    speech = load_core({"format": "flac"}).voice.synthesize(TEXT)
    assert list_texts(speaker) == [TEXT]
    assert (speech.format, speech.duration_s) == ("flac", 1.0)
    with pytest.raises(TextTooLong, match="pieces of flac cannot be joined") as caught:
        load_core({"format": "flac", "limit": 20}).voice.synthesize(TEXT)
    assert caught.value.fix == 'synthesize(..., format="mp3")'
    assert len(speaker.requests) == 1


def test_a_stitching_provider_gets_the_text_before_and_after(speaker: Any) -> None:
    load_core({"stitches": True}).voice.synthesize(TEXT)
    reported = [
        {name: value for name, value in request.settings.items() if not name.endswith("_s")}
        for request in speaker.requests
    ]
    assert reported == [
        {"next_text": "Take an umbrella! Bye."},
        {"previous_text": "It rains.", "next_text": "Bye.", "previous_request_ids": ["r1"]},
        {"previous_text": "It rains. Take an umbrella!", "previous_request_ids": ["r1", "r2"]},
    ]


def test_requests_of_an_earlier_call_are_not_named_again(speaker: Any) -> None:
    voice = load_core({"stitches": True}).voice
    voice.synthesize("It rains.")
    voice.synthesize(TEXT)
    assert "previous_request_ids" not in speaker.requests[1].settings
    assert speaker.requests[2].settings["previous_request_ids"] == ["r2"]


def test_a_provider_without_stitching_gets_only_the_deadline(speaker: Any) -> None:
    load_core().voice.synthesize("Hello.", timeout=7, speed=1.5)
    settings = speaker.requests[0].settings
    assert settings.keys() == {"speed", "timeout_s", "idle_s"}
    assert 6 < settings["timeout_s"] <= 7


def test_a_provider_without_traits_gets_the_whole_text_and_the_settings(
    speaker: Any,
) -> None:
    voice = llmcore.load({"voice": {"provider": "mute"}, "cache": {"provider": "memory"}}).voice
    own: dict[str, Any] = {"loud": True}
    speech = voice.synthesize(TEXT, **own)
    assert speaker.requests == [("mute", TEXT, None, {"loud": True})]
    assert (speech.characters, speech.cost) == (len(TEXT), None)
    assert voice.synthesize(TEXT, **own).cached


@pytest.mark.parametrize("name", ["timeout_s", "previous_text"])
def test_the_hosts_own_settings_are_not_for_the_caller(speaker: Any, name: str) -> None:
    given: dict[str, Any] = {name: 1}
    with pytest.raises(BadRequest, match=f"`{name}` is set by llmcore itself"):
        load_core().voice.synthesize("Hello.", **given)
    assert speaker.requests == []


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_pieces_are_requested_concurrently_if_the_provider_allows_it(speaker: Any, variant: str) -> None:
    voice = load_core({"concurrency": 3}).voice
    event = threading.Event()
    speaker.gate.append(event)

    def open_when_three_wait() -> None:
        while len(speaker.requests) < (3 if variant == "sync" else 0):
            pass
        event.set()

    opener = threading.Thread(target=open_when_three_wait)
    opener.start()
    speech = voice.synthesize(TEXT) if variant == "sync" else asyncio.run(voice.asynthesize(TEXT))
    opener.join()
    assert sorted(list_texts(speaker)) == sorted(SENTENCES)
    assert speech.audio[44:] == b"".join(speaker.make_samples(each) for each in SENTENCES)


def test_a_failed_piece_fails_the_text_and_other_pieces_are_cached(speaker: Any) -> None:
    voice = load_core().voice
    first = speaker.make_wav(speaker.make_samples("It rains."))
    speaker.script.extend([first, ProviderError("no more")])
    with pytest.raises(ProviderError, match="no more"):
        voice.synthesize(TEXT)
    assert voice.synthesize(TEXT).billed_characters == 21


def test_identical_texts_at_once_are_one_request(speaker: Any) -> None:
    voice = load_core().voice
    event = threading.Event()
    speaker.gate.append(event)
    results: list[Speech] = []
    threads = [threading.Thread(target=lambda: results.append(voice.synthesize("Hello."))) for _ in range(8)]
    for thread in threads:
        thread.start()
    while not speaker.requests:
        pass
    event.set()
    for thread in threads:
        thread.join()
    assert len(speaker.requests) == 1
    assert sorted(speech.billed_characters for speech in results) == [0] * 7 + [6]
    assert len({speech.audio for speech in results}) == 1


def test_timestamps_are_those_of_the_whole_text(speaker: Any) -> None:
    text = "  One.\n\nTwo, three!  "
    speech = load_core().voice.synthesize_with_timestamps(text)
    assert "".join(letter for letter, _, _ in speech.alignment) == text
    times = [time for _, start, end in speech.alignment for time in (start, end)]
    assert times == sorted(times)
    letter, *seconds = speech.alignment[8]
    assert letter == "T"
    assert seconds == pytest.approx([0.4, 0.5])
    assert speech.duration_s == pytest.approx(1.5)
    del speaker
    assert asyncio.run(load_core().voice.asynthesize_with_timestamps("Hi.")).alignment[0][0] == "H"


def test_timestamps_of_a_provider_that_has_none_are_refused_in_words(speaker: Any) -> None:
    del speaker
    with pytest.raises(PluginError, match="`mute` cannot synthesize with timestamps"):
        llmcore.load({"voice": {"provider": "mute"}}).voice.synthesize_with_timestamps("Hello.")


def test_a_price_of_the_configuration_wins_and_an_unknown_one_is_never_nothing(speaker: Any) -> None:
    del speaker
    prices = {"speaker:m1": {"input": 0, "output": 0, "characters": 50}}
    assert load_core(prices=prices).voice.synthesize("Hello.").cost == Decimal("0.0003")
    assert load_core({"price": ""}).voice.synthesize("Hello.").cost is None  # its price cannot be read
    assert load_core().voice.synthesize("Hello.").cost == 6


def test_progress_is_reported_after_each_piece(speaker: Any) -> None:
    reported: list[tuple[int, int]] = []
    voice = load_core().voice
    voice.synthesize(TEXT, progress=lambda done, total: reported.append((done, total)))
    assert reported == [(0, 30), (9, 30), (26, 30), (30, 30)]
    reported.clear()
    voice.synthesize(TEXT, progress=lambda done, total: reported.append((done, total)))
    assert reported == [(30, 30)]
    assert len(speaker.requests) == 3


def test_calls_are_booked_and_observers_called(speaker: Any, scripted: Any) -> None:
    del speaker
    events: list[CallEvent] = scripted.events
    core = load_core(observers={"use": ["listener"]})
    core.voice.synthesize(TEXT, user="anna", tags=("t",))
    core.voice.synthesize(TEXT)
    assert [(event.kind, event.provider, event.model, event.characters) for event in events] == [
        ("voice", "speaker", "m1", 30),
        ("voice", "speaker", "m1", 0),
    ]
    assert [(event.cached, event.cost, event.attempts) for event in events] == [
        (False, Decimal(30), 3),
        (True, Decimal(0), 0),
    ]
    assert (events[0].user, events[0].tags) == ("anna", ("t",))
    totals = core.usage.totals()
    assert (totals.calls, totals.cached, totals.characters, totals.cost) == (1, 1, 30, Decimal(30))


def test_temporary_errors_are_retried_and_reported(speaker: Any) -> None:
    speaker.script.append(RateLimited("later", retry_after=0.0))
    assert load_core().voice.synthesize("Hello.").billed_characters == 6
    assert len(speaker.requests) == 2


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b'{"error": "quota"}', b"RIFF"], ids=["empty", "html", "json", "cut"]
)
def test_invalid_audio_is_neither_returned_nor_cached(speaker: Any, body: bytes) -> None:
    voice = load_core().voice
    speaker.script.append(body)
    with pytest.raises(NotAudio, match="the voice provider `speaker` sent audio that is not playable"):
        voice.synthesize("Hello.")
    assert not voice.synthesize("Hello.").cached


def test_audio_that_is_cut_short_is_never_given(speaker: Any) -> None:
    speaker.script.append(speaker.make_wav(bytes(1600))[:-2])
    with pytest.raises(NotAudio, match=r"truncated: 1,598 of 1,600 bytes"):
        load_core().voice.synthesize("Hello.")


def test_a_provider_that_answers_with_something_else_is_named(speaker: Any) -> None:
    speaker.script.append(iter([b"RIFF"]))
    voice = load_core().voice
    speaker.Speaker.speech = lambda *_: b"bytes alone"
    with pytest.raises(ProviderError, match="`speaker` answered with a bytes") as caught:
        voice.synthesize("Hello.")
    assert caught.value.fix == "llmcore plugins check speaker"
