"""What happens when a voice fails: the next one of the configuration, the deadline, and files that are never half there."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    LLMCoreError,
    PluginNotFound,
    ProviderError,
    QuotaExhausted,
    Timeout,
    VoiceError,
    VoiceNotFound,
)
from llmcore.types import Speech, VoiceInfo


def load_core(options: dict[str, Any] | None = None, **more: Any) -> llmcore.Core:
    voice = {"provider": "speaker", "speaker": options or {}, "fallback": ["second"]}
    return llmcore.load({"voice": voice, "cache": {"provider": "memory"}, **more})


@pytest.mark.parametrize(
    "failure",
    [QuotaExhausted("empty"), AuthenticationFailed("who"), ProviderError("broken"), b"<html>"],
    ids=lambda failure: type(failure).__name__,
)
def test_the_next_provider_speaks_if_the_first_fails(speaker: Any, failure: Any) -> None:
    speaker.script.append(failure)
    speech = load_core().voice.synthesize("Hello.")
    assert speech.provider == "second"
    assert [request.provider for request in speaker.requests] == ["speaker", "second"]


@pytest.mark.parametrize("failure", [BadRequest("no"), VoiceNotFound("who"), VoiceError("odd")])
def test_an_error_of_the_caller_is_raised_without_fallback(speaker: Any, failure: LLMCoreError) -> None:
    speaker.script.append(failure)
    with pytest.raises(type(failure)):
        load_core().voice.synthesize("Hello.")
    assert len(speaker.requests) == 1


def test_the_next_provider_gets_common_settings_and_its_own_voice(speaker: Any) -> None:
    speaker.script.append(ProviderError("broken"))
    load_core().voice.synthesize(
        "Hello.", "bob", model="m2", speed=1.5, stability=0.3, language="en", format="wav_44100"
    )
    first, second = speaker.requests
    assert (first.voice, first.settings["stability"], first.settings["model"]) == ("bob", 0.3, "m2")
    assert second.voice is None
    assert {name: value for name, value in second.settings.items() if not name.endswith("_s")} == {
        "speed": 1.5,
        "language": "en",
        "format": "wav",
    }


def test_a_text_is_spoken_by_one_voice_from_beginning_to_end(speaker: Any) -> None:
    speaker.script.extend([speaker.make_wav(bytes(1600)), ProviderError("broken")])
    speech = load_core().voice.synthesize("One. Two.")
    assert speech.audio == speaker.make_wav(speaker.make_samples("One.") + speaker.make_samples("Two."))
    assert [request.provider for request in speaker.requests] == ["speaker", "speaker", "second", "second"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "method"),
    [({"speed": 2.0}, "synthesize"), ({"language": "xx"}, "synthesize"), ({}, "synthesize_with_timestamps")],
    ids=["setting", "voice", "ability"],
)
@pytest.mark.parametrize("variant", ["sync", "async"])
def test_a_fallback_that_cannot_do_it_is_passed_over_for_a_later_one(
    speaker: Any, given: dict[str, Any], method: str, variant: str
) -> None:
    async def refuses(_: Any, text: str, voice: str | None = None, **settings: Any) -> Any:
        raise BadRequest(text) if "speed" in settings else VoiceNotFound(f"{voice}")

    speaker.Mute.asynthesize = refuses
    speaker.script.append(QuotaExhausted("empty"))
    voice = load_core(voice={"provider": "speaker", "fallback": ["mute", "second"]}).voice
    if variant == "sync":
        speech = getattr(voice, method)("Hello.", **given)
    else:
        speech = asyncio.run(getattr(voice, "a" + method)("Hello.", **given))
    assert speech.provider == "second"


def test_if_all_providers_fail_the_first_error_names_the_others(speaker: Any) -> None:
    async def refuses(*_: Any, **__: Any) -> Any:
        raise BadRequest("`mute` has one format")

    speaker.Mute.asynthesize = refuses
    speaker.script.extend([QuotaExhausted("empty"), AuthenticationFailed("who")])
    voice = load_core(voice={"provider": "speaker", "fallback": ["mute", "second"]}).voice
    with pytest.raises(QuotaExhausted) as caught:
        voice.synthesize("Hello.", format="wav")
    assert caught.value.notes[0].startswith("speaker:m1, 1 attempt in ")
    assert caught.value.notes[1:] == (
        "the fallback `mute` failed too: `mute` has one format",
        "the fallback `second` failed too: who",
    )


def test_a_started_stream_has_no_fallback(speaker: Any) -> None:
    whole = speaker.make_wav(speaker.make_samples("Hello."))
    speaker.script.extend([QuotaExhausted("empty"), [whole[:200], BadRequest("odd")]])
    with pytest.raises(BadRequest, match="odd"):
        list(load_core().voice.stream("Hello."))


def test_a_fallback_that_is_not_installed_is_refused_at_once(speaker: Any) -> None:
    del speaker
    with pytest.raises(PluginNotFound, match="unknown voice provider"):
        llmcore.load({"voice": {"provider": "speaker", "fallback": ["nobody"]}})
    with pytest.raises(ConfigError, match="must be a list of providers"):
        llmcore.load({"voice": {"provider": "speaker", "fallback": 7}})


@pytest.mark.parametrize("method", ["synthesize", "stream"])
def test_a_deadline_holds_for_a_provider_that_hangs(speaker: Any, method: str) -> None:
    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(60)

    async def hang_too(*_: Any, **__: Any) -> Any:
        yield speaker.make_wav(bytes(1600))[:200]
        await asyncio.sleep(60)

    speaker.Speaker.asynthesize = hang
    speaker.Speaker.astream_speech = hang_too
    voice = llmcore.load({"voice": {"provider": "speaker"}, "cache": {"provider": "memory"}}).voice

    async def main() -> None:
        if method == "synthesize":
            await voice.asynthesize("Hello.", timeout=0.2)
        else:
            async for _ in voice.astream("Hello.", timeout=0.2):
                pass

    with pytest.raises(Timeout):
        asyncio.run(main())


@pytest.mark.slow
def test_a_deadline_covers_all_pieces_and_finished_ones_are_cached(speaker: Any) -> None:
    plain = speaker.Speaker.asynthesize

    async def hang_at_two(self: Any, text: str, voice: str | None = None, **settings: Any) -> Any:
        if text == "Two.":
            await asyncio.sleep(60)
        return await plain(self, text, voice, **settings)

    speaker.Speaker.asynthesize = hang_at_two
    core = llmcore.load({"voice": {"provider": "speaker"}, "cache": {"provider": "memory"}})
    with pytest.raises(Timeout):
        asyncio.run(core.voice.asynthesize("One. Two. Three.", timeout=5))  # "One." is spoken by then
    assert core.voice.synthesize("One. Two. Three.").billed_characters == len("Two.Three.")


# -- files


def test_a_speech_replaces_an_existing_file_atomically(tmp_path: Path) -> None:
    speech = Speech(audio=b"RIFF....", format="wav")
    path = tmp_path / "hello.wav"
    path.write_bytes(b"old")
    assert speech.save(path) == path
    assert path.read_bytes() == b"RIFF...."
    assert [each.name for each in tmp_path.iterdir()] == ["hello.wav"]
    assert speech.save(str(tmp_path / "other.wav")).read_bytes() == b"RIFF...."


def test_a_failed_save_leaves_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "is-a-folder"
    folder.mkdir()
    with pytest.raises(OSError, match="is-a-folder"):
        Speech(audio=b"RIFF", format="wav").save(folder)
    with pytest.raises(OSError, match="no-such-folder"):
        Speech(audio=b"RIFF", format="wav").save(tmp_path / "no-such-folder" / "a.wav")
    assert [each.name for each in tmp_path.iterdir()] == ["is-a-folder"]


def test_a_speech_shows_no_audio_in_its_repr() -> None:
    assert repr(Speech(audio=b"RIFF", format="wav", characters=2)) == "Speech(4 bytes of wav, 2 characters)"


# -- the voices


def test_voices_of_a_provider_without_search_are_searched_by_the_host(speaker: Any) -> None:
    del speaker
    voice = load_core().voice

    def names(query: str | None = None, **given: Any) -> list[str]:
        return [found.name for found in voice.search_voices(query, **given).voices]

    assert names() == ["Anna", "Bob", "Cleo"]
    assert names("FEMALE") == ["Anna", "Cleo"]
    assert names("female cleo") == ["Cleo"]
    assert names(language="en") == ["Bob", "Cleo"]
    assert names(language="en-GB", gender="male") == ["Bob"]
    assert names(gender="other") == []
    page = voice.search_voices(limit=2)
    assert (len(page.voices), page.next) == (2, "2")
    last = voice.search_voices(limit=2, after=page.next)
    assert ([found.name for found in last.voices], last.next) == (["Cleo"], None)
    assert asyncio.run(voice.asearch_voices("bob")).voices[0].voice_id == "bob"


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": True}, {"after": "x"}, {"after": "9"}])
def test_a_page_that_does_not_exist_is_refused(speaker: Any, given: dict[str, Any]) -> None:
    del speaker
    with pytest.raises(BadRequest):
        load_core().voice.search_voices(**given)


def test_a_voice_is_cloned_once_with_consent(speaker: Any) -> None:
    voice = load_core().voice
    made = voice.clone_voice(
        "Ada", [b"RIFF1"], consent="signed", description="warm", labels={"accent": "none"}
    )
    assert made == VoiceInfo(voice_id="cloned", name="Ada")
    assert speaker.clones == [("Ada", [b"RIFF1"], "signed", "warm", {"accent": "none"})]
    assert voice.delete_voice("cloned") is True
    assert asyncio.run(voice.adelete_voice("nobody")) is False
    speaker.script.append(Timeout("unknown whether it was made"))
    with pytest.raises(Timeout):
        asyncio.run(voice.aclone_voice("Ada", [b"RIFF"], consent="signed"))
    assert len(speaker.clones) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"consent": " "}, "without its speaker's consent"),
        ({"consent": None}, "without its speaker's consent"),
        ({"name": ""}, "has no name"),
        ({"audio_files": []}, "at least one recording"),
        ({"audio_files": b"RIFF"}, "must be a list of recordings, got bytes"),
        ({"audio_files": "one.wav"}, "must be a list of recordings, got str"),
        ({"audio_files": [b""]}, r"audio_files\[0\] is empty"),
        ({"audio_files": [b"RIFF", 7]}, r"audio_files\[1\] must be a path or bytes, got int"),
        ({"audio_files": ["nowhere.wav"]}, r"audio_files\[0\] cannot be read: No such file"),
        ({"audio_files": ["null\0.wav"]}, r"audio_files\[0\] cannot be read: embedded null"),
    ],
)
def test_an_incomplete_clone_request_is_rejected_before_sending(
    speaker: Any, change: dict[str, Any], said: str
) -> None:
    given = {"name": "Ada", "audio_files": [b"RIFF"], "consent": "signed", **change}
    with pytest.raises(VoiceError, match=said):
        load_core().voice.clone_voice(**given)
    assert speaker.clones == []


def test_neither_key_nor_text_nor_recording_is_ever_logged(
    speaker: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEAKER_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)
    core = load_core({"key": "env:SPEAKER_KEY"})
    speaker.script.append(RuntimeError("sk-very-secret was refused"))
    core.voice.synthesize("A private sentence.")
    speaker.script.append(RuntimeError("sk-very-secret was refused"))
    with pytest.raises(ProviderError) as caught:
        core.voice.clone_voice("Ada", [b"private recording"], consent="signed")
    shown = caplog.text + str(caught.value) + repr(core.settings)
    assert "voice speaker failed" in caplog.text
    assert not any(word in shown for word in ("sk-very-secret", "private"))
