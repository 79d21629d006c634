"""What `espeak` says: the same for the same text, in every format, in many languages, with its times."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import threading
import wave
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest, VoiceNotFound
from llmcore_voice_espeak import data
from llmcore_voice_espeak.plugin import EspeakOptions
from llmcore_voice_espeak.provider import EspeakVoice

TEXT = "It rains in the mountains. Take an umbrella!"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


def read_frames(audio: bytes) -> bytes:
    with wave.open(io.BytesIO(audio)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        return bytes(file.readframes(file.getnframes()))


def test_equal_texts_sound_the_same_after_any_other_text() -> None:
    first = EspeakVoice().synthesize(TEXT)
    other = EspeakVoice()
    other.synthesize("Something else", "de+f3", speed=2.0, pitch=90)
    assert other.synthesize(TEXT).audio == first.audio
    code = (
        "import sys; from llmcore_voice_espeak.provider import EspeakVoice;"
        f"sys.stdout.buffer.write(EspeakVoice().synthesize({TEXT!r}).audio)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == first.audio


@pytest.mark.parametrize("kind", ["mp3", "flac"])
def test_the_same_text_is_the_same_file(kind: str) -> None:
    voice = EspeakVoice()
    assert voice.synthesize(TEXT, format=kind).audio == voice.synthesize(TEXT, format=kind).audio


def test_each_setting_changes_the_audio() -> None:
    voice = EspeakVoice()
    plain = voice.synthesize(TEXT)
    fast, slow = voice.synthesize(TEXT, speed=2.0), voice.synthesize(TEXT, speed=0.5)
    assert (fast.duration_s or 0) * 1.5 < (plain.duration_s or 0) < (slow.duration_s or 0) / 1.5
    high = voice.synthesize(TEXT, pitch=90)
    german = voice.synthesize(TEXT, language="de-AT")
    woman = voice.synthesize(TEXT, "en-us+f3")
    assert len({each.audio for each in (plain, high, german, woman)}) == 4
    assert (german.voice, woman.voice, plain.voice) == ("de", "en-us+f3", "en-us")


@pytest.mark.parametrize("kind", ["wav", "pcm", "mp3", "ogg", "flac"])
def test_every_format_is_whole_and_as_long_as_the_speech(kind: str) -> None:
    with llmcore.load({"voice": {"provider": "espeak"}}) as core:
        speech = core.voice.synthesize(TEXT, format=kind, cache=False)
    assert (speech.format, speech.sample_rate_hz) == (kind, 22_050)
    assert speech.duration_s == pytest.approx(EspeakVoice().synthesize(TEXT).duration_s or 0, abs=0.15)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac"])
def test_a_long_text_is_encoded_as_a_short_one_is(kind: str) -> None:
    """In a separate process, because an encoder with too much data kills it."""
    code = (
        "import llmcore\n"
        "with llmcore.load({'voice': {'provider': 'espeak'}}) as core:\n"
        f"    speech = core.voice.synthesize({TEXT!r} * 200, format={kind!r}, cache=False)\n"
        "print(speech.duration_s)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    raw = EspeakVoice().synthesize(TEXT * 200, format="pcm")
    assert float(done.stdout) == pytest.approx(raw.duration_s or 0, abs=0.15)


@pytest.mark.parametrize("kind", ["wav", "pcm", "mp3"])
def test_a_stream_equals_the_speech_in_one_piece(kind: str) -> None:
    voice = EspeakVoice(EspeakOptions(format=kind))
    pieces = list(voice.stream_speech(TEXT))
    whole = voice.synthesize(TEXT).audio
    if kind == "wav":
        assert len(pieces) > 10
        assert b"".join(pieces)[44:] == whole[44:]
        assert b"".join(pieces)[40:44] == b"\xff" * 4
    else:
        assert b"".join(pieces) == whole


def test_a_stream_that_is_left_stops_and_the_next_one_speaks() -> None:
    voice = EspeakVoice()
    stream = voice.stream_speech(TEXT * 200)
    next(stream)
    stream.close()  # type: ignore[attr-defined] # it is a generator
    assert not [thread for thread in threading.enumerate() if thread.name == "llmcore-espeak"]
    assert voice.synthesize("Hello.").audio


def test_times_are_those_of_the_words() -> None:
    text = "One, two, three and four."
    speech = EspeakVoice().synthesize_with_timestamps(text)
    assert "".join(letter for letter, _, _ in speech.alignment) == text
    times = [time for _, begins, ends in speech.alignment for time in (begins, ends)]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(speech.duration_s or 0)
    alone = EspeakVoice().synthesize_with_timestamps("One,").alignment
    assert speech.alignment[text.index("two")][1] == pytest.approx(alone[-1][2], abs=0.25)


def test_every_character_has_a_time_even_outside_of_words() -> None:
    for text in ("\U0001f642", "...", "\u4f60\u597d", "a\r\n\r\nb", "<speak>Hi <break time='1s'/></speak>"):
        speech = EspeakVoice().synthesize_with_timestamps(text)
        assert "".join(letter for letter, _, _ in speech.alignment) == text


def test_ssml_is_understood_and_other_markup_is_read_out() -> None:
    voice = EspeakVoice()
    paused = voice.synthesize("<speak>Hello <break time='2s'/> you</speak>")
    assert (paused.duration_s or 0) > 2 + (voice.synthesize("Hello you").duration_s or 0) * 0.5
    assert voice.synthesize("a <b> c").audio != voice.synthesize("a  c").audio
    assert voice.synthesize("<speaker> a").audio != voice.synthesize("<speak> a</speak>").audio
    plain = voice.synthesize("<speak>Hello</speak>").audio
    assert voice.synthesize("\ufeff<?xml version='1.0'?><!-- no --><speak>Hello</speak>").audio == plain


def test_control_characters_are_not_commands() -> None:
    voice = EspeakVoice()
    assert voice.synthesize("Hello \x0120P there").audio == voice.synthesize("Hello  20P there").audio
    assert voice.synthesize("Hello\0there").audio == voice.synthesize("Hello there").audio


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"speed": 9}, "got 9"),
        ({"pitch": -1}, "got -1"),
        ({"format": "aac"}, "got 'aac'"),
        ({"model": "gpt"}, "got 'gpt'"),
        ({"language": 7}, "got 7"),
        ({"sped": 1}, "unknown setting `sped`"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        EspeakVoice().synthesize("Hello.", None, **given)
    if "sped" in given:
        assert caught.value.suggestion == "speed"


@pytest.mark.parametrize(("voice", "suggestion"), [("en-uk", "en-us"), ("en-us+f33", "en-us+f3")])
def test_a_voice_that_is_not_there_has_a_neighbour(voice: str, suggestion: str) -> None:
    with pytest.raises(VoiceNotFound) as caught:
        EspeakVoice().synthesize("Hello.", voice)
    assert caught.value.suggestion == suggestion


def test_a_language_without_a_voice_is_an_error() -> None:
    with pytest.raises(VoiceNotFound, match="tlh"):
        EspeakVoice().synthesize("Hello.", language="tlh")


@pytest.mark.parametrize(
    ("language", "voice"), [("en", "en-gb"), ("en-AU", "en-gb"), ("PT-br", "pt-br"), ("de", "de")]
)
def test_a_language_is_spoken_by_the_nearest_voice(language: str, voice: str) -> None:
    assert EspeakVoice().synthesize("Hello.", language=language).voice == voice


def test_without_soundfile_encoded_formats_name_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setattr("llmcore_voice_espeak.offline.find_spec", lambda _: None)
    with pytest.raises(BadRequest, match="needs soundfile") as caught:
        llmcore.load({}).voice.synthesize("Hello.", format="mp3")
    assert caught.value.fix == "pip install soundfile"
    assert llmcore.load({}).voice.synthesize("Hello.").format == "wav"


def test_with_nothing_configured_it_speaks_sync_and_async_at_no_cost() -> None:
    with llmcore.load({}) as core:
        speech = core.voice.synthesize(TEXT)
        again = asyncio.run(core.voice.asynthesize(TEXT))
    assert (speech.provider, speech.model, speech.cost, speech.cached) == (
        "espeak",
        "espeak-ng",
        Decimal(0),
        False,
    )
    assert read_frames(speech.audio)
    assert (again.audio, again.cached) == (speech.audio, True)


def test_a_hundred_thousand_characters_are_spoken() -> None:
    text = "It rains, and it does not stop to rain. " * 2_500
    speech = EspeakVoice().synthesize(text, speed=2.5, format="pcm")
    assert (speech.duration_s or 0) > 1000


def test_threads_are_served_one_after_the_other() -> None:
    voice = EspeakVoice()
    expected = [voice.synthesize(f"Number {at}").audio for at in range(6)]
    got: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda at=at: got.update({at: voice.synthesize(f"Number {at}").audio}))
        for at in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[at] for at in range(6)] == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that does not fork")
def test_a_child_of_a_speaking_process_speaks() -> None:
    code = (
        "import os, sys, threading; from llmcore_voice_espeak.provider import EspeakVoice;"
        "speaking = EspeakVoice().stream_speech('Hello. ' * 5000); next(speaking); pid = os.fork();"
        "sys.exit(0 if pid == 0 and EspeakVoice().synthesize('Hi').audio else os.waitpid(pid, 0)[1])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_data_behind_a_path_that_is_too_long_for_the_library_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import espeakng_loader

    expected = EspeakVoice().synthesize("Hello.").audio
    far = tmp_path / ("a" * 120) / ("b" * 120) / "espeak-ng-data"
    shutil.copytree(espeakng_loader.get_data_path(), far)
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(far))
    data.get_data_path.cache_clear()
    try:
        assert EspeakVoice().synthesize("Hello.").audio == expected
    finally:
        data.get_data_path.cache_clear()


def test_a_speech_from_the_cache_loads_no_library() -> None:
    config = {"voice": {"provider": "espeak"}, "cache": {"provider": "file"}}
    with llmcore.load(config) as core:
        core.voice.synthesize(TEXT)
    code = (
        "import sys, llmcore\n"
        f"with llmcore.load({config!r}) as core: assert core.voice.synthesize({TEXT!r}).cached\n"
        "assert not {'espeakng_loader', 'asyncio', 'soundfile'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
