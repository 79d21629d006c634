"""The voice client as existing code calls it: positional settings, `voice_id`, paths of recordings, `except ValueError`."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest, VoiceError, VoiceNotFound
from llmcore.voice import VoiceClient
from llmcore.voice.recordings import Recording


@pytest.fixture
def voice(speaker: Any) -> VoiceClient:
    del speaker
    return llmcore.load({"voice": {"provider": "speaker"}, "cache": {"provider": "memory"}}).voice


def test_voice_stability_and_similarity_are_positional(speaker: Any, voice: VoiceClient) -> None:
    voice.synthesize("One.", "bob", 0.5, 0.75)
    asyncio.run(voice.asynthesize("Two.", "bob", 0.4, 0.7))
    assert [request.voice for request in speaker.requests] == ["bob", "bob"]
    assert [
        (request.settings["stability"], request.settings["similarity_boost"]) for request in speaker.requests
    ] == [(0.5, 0.75), (0.4, 0.7)]


def test_settings_that_are_not_given_are_the_voices_own(speaker: Any, voice: VoiceClient) -> None:
    voice.synthesize("One.", "bob")
    assert not {"stability", "similarity_boost"} & speaker.requests[0].settings.keys()
    voice.synthesize("Two.", "bob", stability=0)
    assert speaker.requests[1].settings["stability"] == 0


def test_voice_id_is_another_name_of_voice(speaker: Any, voice: VoiceClient) -> None:
    voice.synthesize(text="One.", voice_id="bob", stability=0.5)
    asyncio.run(voice.asynthesize("Two.", voice_id="bob"))
    assert b"".join(voice.stream("Three.", voice_id="bob"))
    assert [request.voice for request in speaker.requests] == ["bob"] * 3
    assert all("voice_id" not in request.settings for request in speaker.requests)
    assert voice.traits(voice_id="bob") == voice.traits("bob")
    with pytest.raises(BadRequest, match="two names of one argument"):
        voice.synthesize("Four.", "bob", voice_id="bob")
    wrong: Any = 7
    with pytest.raises(BadRequest, match="must be text, got int"):
        voice.synthesize("Five.", voice_id=wrong)


def test_the_same_voice_under_either_name_is_one_entry_of_the_cache(speaker: Any, voice: VoiceClient) -> None:
    assert voice.synthesize("One.", "bob").audio == voice.synthesize("One.", voice_id="bob").audio
    assert len(speaker.requests) == 1


def test_an_unknown_voice_is_a_value_error(speaker: Any, voice: VoiceClient) -> None:
    with pytest.raises(ValueError, match="no voice") as caught:
        voice.get_voice_info("nobody")
    assert isinstance(caught.value, VoiceNotFound)
    speaker.script.append(VoiceNotFound("the provider's own", fix="llmcore voices"))
    with pytest.raises(ValueError, match="the provider's own") as caught:
        voice.synthesize("Hello.", "nobody")
    assert type(caught.value) is VoiceNotFound
    assert caught.value.fix == "llmcore voices"


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_recordings_are_paths_or_bytes(
    speaker: Any, voice: VoiceClient, tmp_path: Path, variant: str
) -> None:
    for name in ("one.wav", "two.wav"):
        (tmp_path / name).write_bytes(name.encode())
    files: list[Recording] = [str(tmp_path / "one.wav"), tmp_path / "two.wav", b"three"]
    if variant == "sync":
        made = voice.clone_voice("Ada", files, "warm", consent="signed")
    else:
        made = asyncio.run(voice.aclone_voice("Ada", files, "warm", consent="signed"))
    assert made.voice_id == "cloned"
    assert speaker.clones == [("Ada", [b"one.wav", b"two.wav", b"three"], "signed", "warm", None)]


def test_without_consent_no_file_is_read(speaker: Any, voice: VoiceClient) -> None:
    with pytest.raises(VoiceError, match="consent"):
        voice.clone_voice("Ada", ["nowhere.wav"], consent="")
    with pytest.raises(VoiceError, match="cannot be read") as caught:
        voice.clone_voice("Ada", ["nowhere.wav"], consent="signed")
    assert (caught.value.where, caught.value.__context__) == ("nowhere.wav", None)
    assert speaker.clones == []


def test_the_signatures_are_those_of_existing_code() -> None:
    for name in ("synthesize", "asynthesize"):
        parameters = list(inspect.signature(getattr(VoiceClient, name)).parameters)
        assert parameters[1:5] == ["text", "voice", "stability", "similarity_boost"]
    for name in ("clone_voice", "aclone_voice"):
        listed = inspect.signature(getattr(VoiceClient, name)).parameters
        assert list(listed)[1:5] == ["name", "audio_files", "description", "consent"]
        assert listed["consent"].kind is inspect.Parameter.KEYWORD_ONLY
