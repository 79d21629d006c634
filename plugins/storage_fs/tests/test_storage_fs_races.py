"""Races of moves, copies and saves, for one file, or for a file and a folder of the same name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import StorageChanged, StorageError, StorageKeyError, StorageNotFound
from llmcore.support import storage_keys as keys
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage


def find_leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(keys.TEMPORARY)]


def test_two_moves_in_opposite_directions_do_not_deadlock(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    for key in ("a/1", "b/2"):
        storage.save(key, key.encode())

    def swing(there: str, back: str) -> None:
        for _ in range(200):
            storage.move(there, back)
            storage.move(back, there)

    threads = [threading.Thread(target=swing, args=way) for way in (("a/1", "b/1"), ("b/2", "a/2"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert storage.list_files() == ["a/1", "b/2"]


@pytest.mark.parametrize("ways", [folders, paths], ids=["descriptors", "paths"])
@pytest.mark.parametrize("method", ["move", "copy"])
def test_the_loser_of_a_race_for_a_file_gets_not_found(tmp_path: Path, ways: Any, method: str) -> None:
    """Move the source away after the last check, before it is opened or renamed."""
    rounds = 0

    class Late(ways.open_root(str(tmp_path), create=False).__class__):  # type: ignore[misc]
        def stat(self, name: str) -> os.stat_result:
            nonlocal rounds
            found: os.stat_result = super().stat(name)
            if name == "source":
                rounds += 1
                if rounds == 3 - (method == "copy"):
                    (tmp_path / "a" / "source").unlink()
            return found

        def open_child(self, name: str, *, create: bool) -> Any:
            return late(super().open_child(name, create=create))

    def late(folder: Any) -> Any:
        folder.__class__ = Late
        return folder

    storage = FsStorage(tmp_path, open_root=lambda path, *, create: late(ways.open_root(path, create=create)))
    storage.save("a/source", b"1")
    rounds = 0
    with pytest.raises(StorageNotFound, match="nothing is stored under 'a/source'"):
        getattr(storage, method)("a/source", "b/target")
    assert storage.list_files() == []
    assert find_leftovers(tmp_path) == []


def test_one_of_many_concurrent_moves_succeeds_and_the_others_get_not_found(tmp_path: Path) -> None:
    storage, outcomes = FsStorage(tmp_path), []

    def move(n: int, start: threading.Barrier) -> None:
        start.wait(60)
        try:
            storage.move("source", f"target/{n}")
            outcomes.append("moved")
        except Exception as error:  # noqa: BLE001 - whatever comes out is looked at
            outcomes.append(type(error).__name__)

    for _ in range(30):
        storage.save("source", b"1")
        start, outcomes = threading.Barrier(6), []
        movers = [threading.Thread(target=move, args=(n, start)) for n in range(6)]
        for mover in movers:
            mover.start()
        for mover in movers:
            mover.join(60)
        assert sorted(outcomes) == ["StorageNotFound"] * 5 + ["moved"]


@pytest.mark.parametrize("ways", [folders, paths], ids=["descriptors", "paths"])
def test_a_file_can_replace_a_folder_without_files(tmp_path: Path, ways: Any) -> None:
    storage = FsStorage(tmp_path, open_root=ways.open_root)
    storage.save("source", b"1")
    puts: list[Callable[[], object]] = [
        lambda: storage.save("f", b"1"),
        lambda: storage.save_stream("f", [b"1"]),
        lambda: storage.save_if_absent("f", b"1"),
        lambda: storage.copy("source", "f"),
        lambda: storage.move("source", "f"),
    ]
    for put in puts:
        storage.save("f/a/b", b"0")
        for call in puts:
            with pytest.raises(StorageKeyError, match="the path is a folder"):
                call()
        assert storage.load("f/a/b") == b"0"
        storage.create_directory("f/c/d")
        storage.delete("f/a/b")
        with pytest.raises(StorageChanged):
            storage.save_if_match("f", b"2", "etag")
        put()
        assert storage.load("f") == b"1"
        assert storage.delete("f")
    assert storage.list_files() == []
    assert find_leftovers(tmp_path) == []


@pytest.mark.parametrize("ways", [folders, paths], ids=["descriptors", "paths"])
def test_a_folder_with_a_writer_or_a_new_file_is_not_removed(tmp_path: Path, ways: Any) -> None:
    """Start one writer between the last check of the folder and its removal; another one has a temporary file in it."""
    storage, came = FsStorage(tmp_path, open_root=ways.open_root), False
    storage.create_directory("f/a")

    class Late(ways.open_root(str(tmp_path), create=False).__class__):  # type: ignore[misc]
        def rmdir(self, name: str) -> None:
            nonlocal came
            if not came:
                came = True
                storage.save("f/a/late", b"1")
            super().rmdir(name)

        def open_child(self, name: str, *, create: bool) -> Any:
            return late(super().open_child(name, create=create))

    def late(folder: Any) -> Any:
        folder.__class__ = Late
        return folder

    other = FsStorage(tmp_path, open_root=lambda path, *, create: late(ways.open_root(path, create=create)))
    with pytest.raises(StorageKeyError, match="the path is a folder"):
        other.save("f", b"2")
    assert (came, storage.list_files()) == (True, ["f/a/late"])

    def pieces() -> Iterator[bytes]:
        yield b"half"
        with pytest.raises(StorageKeyError, match="the path is a folder"):
            storage.save("g", b"2")
        yield b" and whole"

    storage.save_stream("g/a/file", pieces())
    assert storage.load("g/a/file") == b"half and whole"
    assert find_leftovers(tmp_path) == []


@pytest.mark.slow
def test_a_race_between_a_folder_and_a_file_of_the_same_name_ends(tmp_path: Path) -> None:
    """Only one of "f" and "f/a" exists at a time: the other is refused, without any other error."""
    outcomes: list[str] = []

    def write(key: str) -> None:
        storage = FsStorage(tmp_path)
        for n in range(150):
            try:
                storage.save(key, b"%d" % n)
                storage.delete(key)
                outcomes.append("saved")
            except StorageError as error:
                outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=write, args=(key,)) for key in ("f", "f/a", "f/a/b", "f/c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert set(outcomes) <= {"saved", "StorageKeyError"}
    assert len(outcomes) == 600
    assert FsStorage(tmp_path).list_files() == []
    assert find_leftovers(tmp_path) == []
