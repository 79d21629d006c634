"""A root that is deleted while the storage is in use is an error, and a write does not create it again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import StorageError, StorageKeyError
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage

CALLS: dict[str, Callable[[FsStorage], Any]] = {
    "save": lambda storage: storage.save("a/file", b"1"),
    "save_stream": lambda storage: storage.save_stream("a/file", [b"1"]),
    "save_if_absent": lambda storage: storage.save_if_absent("a/other", b"1"),
    "save_if_match": lambda storage: storage.save_if_match("a/file", b"1", "etag"),
    "create_directory": lambda storage: storage.create_directory("folder"),
    "copy": lambda storage: storage.copy("a/file", "b"),
    "move": lambda storage: storage.move("a/file", "b"),
    "delete": lambda storage: storage.delete("a/file"),
    "load": lambda storage: storage.load("a/file"),
    "load_stream": lambda storage: list(storage.load_stream("a/file")),
    "exists": lambda storage: storage.exists("a/file"),
    "list_files": lambda storage: storage.list_files(),
    "list_page": lambda storage: storage.list_page(),
    "asave": lambda storage: asyncio.run(storage.asave("a/file", b"1")),
    "aload": lambda storage: asyncio.run(storage.aload("a/file")),
}

OPENERS = [
    pytest.param(
        folders.open_root,
        marks=pytest.mark.skipif(not folders.SUPPORTED, reason="this system has no descriptors of folders"),
        id="descriptors",
    ),
    pytest.param(paths.open_root, id="paths"),
]


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("seen_by", ["a save", "the start"])
def test_a_root_that_no_longer_exists_is_an_error_and_is_not_created_again(
    name: str, opener: Any, seen_by: str, tmp_path: Path
) -> None:
    root = tmp_path / "the disk" / "root"
    if seen_by == "the start":
        root.mkdir(parents=True)
        storage = FsStorage(root, open_root=opener)
    else:
        storage = FsStorage(root, open_root=opener)
        storage.save("a/file", b"old")
    shutil.rmtree(root.parent)
    with pytest.raises(
        StorageError, match="was deleted or unmounted while this process was running"
    ) as caught:
        CALLS[name](storage)
    assert type(caught.value) is StorageError
    assert caught.value.where == str(root)
    assert caught.value.fix == f"mkdir -p '{root}'"
    assert caught.value.__context__ is None
    assert not root.parent.exists()


@pytest.mark.parametrize("opener", OPENERS)
def test_a_root_that_comes_back_is_used_again(opener: Any, tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    storage = FsStorage(root, open_root=opener)
    storage.save("a", b"old")
    root.rename(elsewhere)
    with pytest.raises(StorageError, match="was deleted or unmounted"):
        storage.load("a")
    elsewhere.rename(root)
    assert storage.load("a") == b"old"
    storage.save("b", b"new")
    assert storage.list_files() == ["a", "b"]


def test_a_bad_key_is_reported_before_a_bad_root(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path / "root")
    storage.save("a", b"1")
    shutil.rmtree(tmp_path / "root")
    with pytest.raises(StorageKeyError):
        storage.save("../a", b"1")
