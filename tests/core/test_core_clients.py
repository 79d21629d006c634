"""The clients for storages and voices through the public interface, and the errors of a Core without a backend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.config import load_settings
from llmcore.errors import (
    PluginError,
    PluginNotFound,
    StorageError,
    StorageKeyError,
    StorageNotFound,
    VoiceError,
)
from llmcore.install_lines import make_install_line
from llmcore.plugins import Catalogue
from llmcore.types import VoiceInfo


@pytest.fixture
def storage(tmp_path: Path) -> Any:
    return llmcore.load({"storage": {"provider": "fs", "fs": {"root": str(tmp_path)}}}).storage


def test_a_saved_value_is_loaded_and_text_is_utf8(storage: Any) -> None:
    storage.save("reports/november.txt", "Grüße")
    storage.save("reports/raw.bin", b"\x00\xff")
    assert storage.load("reports/november.txt") == "Grüße".encode()
    assert storage.load("reports/raw.bin") == b"\x00\xff"
    assert storage.list_files("reports/") == ["reports/november.txt", "reports/raw.bin"]
    assert storage.exists("reports/raw.bin")
    assert storage.get_file_size("reports/raw.bin") == 2
    assert storage.get_modified_time("reports/raw.bin") > 1_700_000_000
    assert storage.delete("reports/raw.bin")
    assert not storage.exists("reports/raw.bin")


def test_the_asynchronous_twins_do_the_same(storage: Any) -> None:
    async def main() -> None:
        await storage.asave("a.txt", "a")
        assert await storage.aload("a.txt") == b"a"
        assert await storage.alist_files() == ["a.txt"]
        assert await storage.aexists("a.txt")
        await storage.acreate_directory("folder")
        assert await storage.aget_file_size("a.txt") == 1
        assert await storage.aget_modified_time("a.txt") > 0
        assert await storage.adelete("a.txt")

    asyncio.run(main())


def test_a_missing_file_raises_not_found(storage: Any) -> None:
    with pytest.raises(StorageNotFound):
        storage.load("nothing.txt")


@pytest.mark.parametrize("key", [None, 7, b"a"])
def test_a_key_that_is_not_text_is_rejected(storage: Any, key: Any) -> None:
    with pytest.raises(StorageKeyError, match="key must be text"):
        storage.load(key)


def test_data_other_than_bytes_and_text_is_rejected(storage: Any) -> None:
    with pytest.raises(StorageError, match="data must be bytes or text, got dict"):
        storage.save("a.json", {"a": 1})


def test_without_configuration_files_need_the_installed_plugin() -> None:
    llmcore.load({}).storage.save("a.txt", "a")
    assert Path("data/a.txt").read_text() == "a"


@pytest.mark.parametrize(
    ("kind", "use", "package"),
    [
        ("storage", lambda core: core.storage.load("a"), "llmcore-storage-fs"),
        ("voice", lambda core: core.voice.synthesize("a"), "llmcore-voice-espeak"),
    ],
)
def test_a_backend_that_is_not_there_names_its_package(kind: str, use: Any, package: str) -> None:
    core = llmcore.Core(load_settings({}), Catalogue(path=[]))
    with pytest.raises(PluginNotFound) as caught:
        use(core)
    assert caught.value.fix == make_install_line(package)
    assert package in caught.value.notes[0]
    assert kind in str(caught.value)


def test_an_ability_that_a_backend_lacks_is_named(scripted: Any) -> None:
    del scripted
    core = llmcore.load({"llm": {"provider": "scripted"}})
    with pytest.raises(PluginError, match="`scripted` cannot list models"):
        core.llm.models()


class TestVoice:
    def test_text_is_spoken_sync_and_async(self, scripted: Any) -> None:
        del scripted
        voice = llmcore.load({"voice": {"provider": "hum"}}).voice
        speech = voice.synthesize("Hello")
        assert (speech.audio[:4], speech.format, speech.characters) == (b"RIFF", "wav", 5)
        assert asyncio.run(voice.asynthesize("Hello")).audio == speech.audio
        assert voice.list_voices() == [VoiceInfo(voice_id="low", name="Low")]
        assert voice.get_voice_info("low").name == "Low"

    @pytest.mark.parametrize("text", ["", "  ", None])
    def test_nothing_is_not_spoken(self, scripted: Any, text: Any) -> None:
        del scripted
        with pytest.raises(VoiceError, match="nothing to say"):
            llmcore.load({"voice": {"provider": "hum"}}).voice.synthesize(text)
