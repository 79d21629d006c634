"""Errors of a voice name the place, the attempts and a fix."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.cli import main
from llmcore.errors import BadRequest, PluginError, ProviderError, VoiceError, VoiceNotFound
from llmcore_testing import Fault, Simulator

ESPEAK: dict[str, Any] = {"voice": {"provider": "espeak"}, "cache": {"provider": "memory"}}


def test_an_unknown_voice_is_an_argument_or_a_setting() -> None:
    with llmcore.load(ESPEAK) as core, pytest.raises(VoiceNotFound) as caught:
        core.voice.synthesize("Hi", voice="en-uk")
    assert (caught.value.where, caught.value.suggestion) == ("voice='en-uk'", "en-us")
    assert caught.value.fix == 'synthesize(..., voice="en-us")'
    config = {**ESPEAK, "voice": {"provider": "espeak", "espeak": {"voice": "en-uk"}}}
    with llmcore.load(config) as core, pytest.raises(VoiceNotFound) as caught:
        core.voice.synthesize("Hi")
    assert caught.value.where == 'load(...)["voice"]["espeak"]["voice"]'
    assert caught.value.fix == '{"voice": {"espeak": {"voice": "en-us"}}}'


def test_a_misspelt_format_gets_its_nearest() -> None:
    with llmcore.load(ESPEAK) as core, pytest.raises(BadRequest) as caught:
        core.voice.synthesize("Hi", format="wave")
    assert (caught.value.suggestion, caught.value.fix) == ("wav", 'synthesize(..., format="wav")')


@pytest.mark.parametrize("option", [("-f", "wave"), ("-v", "en-uk"), ("--voice", "en-uk")])
def test_the_fix_at_a_shell_mends_it(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("llmcore.toml").write_text('[voice]\nprovider = "espeak"\n')
    assert main(["say", "Hi", "-o", "hi.wav", *option]) != 0
    fix = capsys.readouterr().err.partition("= fix: ")[2].strip()
    assert main(shlex.split(fix)[1:]) == 0, fix


def test_cloning_without_consent_explains_consent() -> None:
    with llmcore.load(ESPEAK) as core:
        clone: Any = core.voice.clone_voice
        with pytest.raises(VoiceError, match="consent") as caught:
            clone("Ann", [b"RIFF"])
        assert "consent=" in (caught.value.fix or "")
        aclone: Any = core.voice.aclone_voice
        with pytest.raises(VoiceError, match="consent"):
            asyncio.run(aclone("Ann", [b"RIFF"]))


def test_a_provider_that_cannot_clone_names_one_that_can() -> None:
    with llmcore.load(ESPEAK) as core, pytest.raises(PluginError) as caught:
        core.voice.clone_voice("Ann", [b"RIFF"], consent="agreed")
    assert "elevenlabs" in (caught.value.expected or "")
    assert caught.value.fix == '{"voice": {"provider": "elevenlabs"}}'


def test_a_failed_request_has_its_attempts_and_setting() -> None:
    with Simulator() as upstream:
        upstream.fail(Fault.status(500), times=2)
        config = {
            "voice": {"provider": "openai", "openai": {"base_url": upstream.base_url, "api_key": "sk-test"}},
            "retry": {"attempts": 2},
            "cache": {"provider": "memory"},
        }
        with llmcore.load(config) as core, pytest.raises(ProviderError) as caught:
            core.voice.synthesize("Hi")
    assert caught.value.attempts == 2
    assert caught.value.elapsed_s is not None
    assert caught.value.where == 'load(...)["voice"]["openai"]["base_url"]'
    assert "2 attempts in" in str(caught.value)
