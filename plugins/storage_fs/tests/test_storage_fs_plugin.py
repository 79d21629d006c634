"""The light module of the plugin, errors of the configuration, and cancelled writes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import llmcore
from llmcore.errors import StorageError
from llmcore.hookspecs import API_VERSION
from llmcore_storage_fs import plugin
from llmcore_storage_fs.provider import FsStorage


def test_the_plugin_offers_fs_with_its_options(tmp_path: Path) -> None:
    assert plugin.LLMCORE_API == API_VERSION
    (entry,) = plugin.llmcore_storage_providers()
    assert entry.name == "fs"
    assert msgspec.convert({}, entry.options).root == Path("data")
    storage = entry.create(plugin.FsOptions(root=tmp_path / "kept"))
    assert isinstance(storage, FsStorage)
    storage.save("a", b"1")
    assert (tmp_path / "kept" / "a").read_bytes() == b"1"


def test_the_plugin_is_light_and_blocking_calls_need_no_asyncio(tmp_path: Path) -> None:
    code = (
        "import sys, llmcore_storage_fs.plugin as plugin\n"
        "assert 'llmcore_storage_fs.provider' not in sys.modules\n"
        f"plugin.create(plugin.FsOptions(root={str(tmp_path)!r})).save('a', b'1')\n"
        "print(sorted({'asyncio', 'tempfile', 'shutil'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_root_that_is_a_file_is_an_error_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = FsStorage(tmp_path / "file")
    for call in (lambda: storage.save("a", b""), lambda: storage.load("a"), storage.list_files):
        with pytest.raises(StorageError, match="the root path of the storage is not a folder") as caught:
            call()
        assert type(caught.value) is StorageError
        assert caught.value.where == str(tmp_path / "file")
        assert caught.value.fix == "llmcore config set storage.fs.root ./data"
        assert caught.value.__context__ is None


def test_text_is_not_saved_by_guessing_an_encoding(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="data must be bytes, got str") as caught:
        FsStorage(tmp_path).save("a", "text")  # type: ignore[arg-type]
    assert caught.value.fix == "save(key, text.encode())"
    assert FsStorage(tmp_path).list_files() == []


def test_a_relative_root_does_not_follow_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = FsStorage("data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    storage.save("a", b"1")
    assert (tmp_path / "data" / "a").exists()


def test_a_tilde_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    FsStorage("~/data").save("a", b"1")
    assert (tmp_path / "data" / "a").exists()


def test_bytes_like_objects_are_saved(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    for data in (bytearray(b"abc"), memoryview(b"abc"), memoryview(b"aabbcc")[::2]):
        storage.save("a", data)  # type: ignore[arg-type]
        assert storage.load("a") == b"abc"


@pytest.mark.parametrize("etag", [None, 5, b"etag"])
def test_an_etag_that_is_not_text_is_refused(tmp_path: Path, etag: str) -> None:
    storage = FsStorage(tmp_path)
    storage.save("old", b"1")
    for key in ("old", "new"):
        with pytest.raises(StorageError, match="etag must be text, got"):
            storage.save_if_match(key, b"2", etag)
    assert (storage.list_files(), storage.load("old")) == (["old"], b"1")


def test_a_cancelled_write_is_complete_or_not_done(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    storage.save("a", b"old")
    new = b"n" * 1_000_000

    async def cancel() -> None:
        for _ in range(20):
            task = asyncio.create_task(storage.asave("a", new))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await storage.aload("a") in (b"old", new)

    asyncio.run(cancel())
    assert FsStorage(tmp_path).list_files() == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_project_has_one_storage_and_one_cache_for_each_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "below" / "it"
    below.mkdir(parents=True)
    (tmp_path / "llmcore.toml").write_text(
        '[storage]\nprovider = "fs"\n[storage.fs]\nroot = "./kept"\n'
        '[cache]\nprovider = "file"\n[cache.file]\ncache_dir = "cached"\n'
    )
    for folder in (tmp_path, below):
        monkeypatch.chdir(folder)
        with llmcore.load() as core:
            core.storage.save(folder.name, b"1")
            core.cache.set("key", folder.name)
    with llmcore.load() as core:
        assert core.storage.list_files() == sorted([tmp_path.name, "it"])
        assert core.cache.get("key") == "it"
    assert list(below.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "cached", "kept", "llmcore.toml"]
    monkeypatch.chdir(below)
    with llmcore.load({"storage": {"provider": "fs", "fs": {"root": "here"}}}) as core:
        core.storage.save("a", b"1")
    assert (below / "here" / "a").read_bytes() == b"1"
