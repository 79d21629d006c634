"""Links, pipes, devices and other special files in the root are never followed and never block."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from llmcore.errors import StorageError, StorageKeyError, StorageNotFound
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket may have 100 bytes only
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def _make_device(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))


def _make_folder_with_file(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "inside")


KINDS: dict[str, Callable[[Path], None]] = {
    "a folder": _make_folder_with_file,
    "a pipe": os.mkfifo,
    "a socket": _make_socket,
    "a link to a file": lambda path: path.symlink_to(path.parent.parent / "outside"),
    "a link to nothing": lambda path: path.symlink_to(path.parent.parent / "nothing"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
if hasattr(os, "geteuid") and os.geteuid() == 0:
    KINDS["a device"] = _make_device


@pytest.mark.parametrize("ways", [folders, paths], ids=["descriptors", "paths"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_is_not_a_file_is_refused_at_once(tmp_path: Path, kind: str, ways: object) -> None:
    (tmp_path / "outside").write_bytes(b"not yours")
    root = tmp_path / "root"
    root.mkdir()
    try:
        KINDS[kind](root / "it")
    except PermissionError:
        assert kind == "a device", "a container may forbid devices, and nothing else"
        return
    before = (root / "it").lstat()
    storage = FsStorage(root, open_root=ways.open_root)  # type: ignore[attr-defined]
    reads: list[Callable[[], object]] = [
        lambda: storage.load("it"),
        lambda: storage.get_file_size("it"),
        lambda: storage.get_modified_time("it"),
    ]
    calls: list[Callable[[], object]] = [lambda: storage.save("it", b"1")]
    if kind != "a folder":
        calls += [lambda: storage.create_directory("it"), lambda: storage.save("it/below", b"1")]
        calls += reads
    else:  # a folder is not a file
        for read in reads:
            with pytest.raises(StorageNotFound):
                read()
    for call in calls:
        with pytest.raises(StorageKeyError, match="cannot be used") as caught:
            call()
        assert caught.value.fix
    assert storage.exists("it") is False
    assert storage.delete("it") is False
    assert storage.list_files() == []
    after = (root / "it").lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert (tmp_path / "outside").read_bytes() == b"not yours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root"]


@pytest.mark.parametrize("ways", [folders, paths], ids=["descriptors", "paths"])
def test_a_huge_file_is_not_loaded(tmp_path: Path, ways: object) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 << 30)
    storage = FsStorage(tmp_path, open_root=ways.open_root)  # type: ignore[attr-defined]
    assert storage.get_file_size("huge") == 10 << 30
    with pytest.raises(StorageError, match="too large for load") as caught:
        storage.load("huge")
    assert caught.value.fix


def test_files_with_names_that_cannot_be_keys_are_not_listed(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    storage.save("folder/good", b"1")
    (tmp_path / "folder" / "e\u0301").write_bytes(b"1")
    (tmp_path / "folder" / "back\\slash").write_bytes(b"1")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/folder/\xff\xfe"))).write_bytes(b"1")
    (tmp_path / "folder" / "con").mkdir()
    (tmp_path / "folder" / "con" / "file").write_bytes(b"1")
    assert storage.list_files() == ["folder/good"]


def test_the_path_of_the_root_may_contain_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    for ways in (folders, paths):
        storage = FsStorage(tmp_path / "root", open_root=ways.open_root)
        storage.save("a/b", b"1")
        assert (tmp_path / "real" / "a" / "b").read_bytes() == b"1"


@pytest.mark.slow
def test_a_folder_that_is_replaced_with_a_link_while_writing_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "parked").mkdir(parents=True)
    (root / "swapped").mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"not yours")
    flips = 0

    def flip() -> None:
        nonlocal flips
        for n in range(2_000):
            with suppress(FileExistsError):
                (root / "swapped").rename(root / "parked" / str(n))
                (root / "swapped").symlink_to(outside)
                flips += 1
                (root / "swapped").unlink()
            with suppress(FileExistsError):
                (root / "swapped").mkdir()

    storage = FsStorage(root)
    flipper = threading.Thread(target=flip)
    flipper.start()
    saved = 0
    while flipper.is_alive():
        with suppress(StorageError):
            storage.save("swapped/new", b"1")
            saved += 1
        with pytest.raises(StorageError):
            storage.load("swapped/secret")
        assert storage.exists("swapped/secret") is False
        assert storage.delete("swapped/secret") is False
        with suppress(StorageError):
            storage.create_directory("swapped/folder")
        assert "swapped/secret" not in storage.list_files("swapped/")
    flipper.join()
    assert flips > 0
    assert saved > 0
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret": b"not yours"}


@pytest.mark.parametrize("kind", ["a link to a file", "a link to a device", "a pipe", "a socket", "a folder"])
def test_a_file_that_is_replaced_between_check_and_open_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"

    class Late(folders.DescriptorFolder):
        def open(self, name: str, flags: int) -> int:
            (root / "file").unlink()
            KINDS[kind](root / "file")
            return super().open(name, flags)

    def open_late(path: str, *, create: bool) -> Late:
        opened = folders.open_root(path, create=create)
        fd, opened._fd = opened._fd, -1
        return Late(fd)

    (tmp_path / "outside").write_bytes(b"not yours")
    FsStorage(root).save("file", b"1")
    with pytest.raises(StorageNotFound if kind == "a folder" else StorageKeyError):
        FsStorage(root, open_root=open_late).load("file")


def test_without_descriptors_each_operation_checks_for_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"not yours")
    FsStorage(root).save("folder/secret", b"mine")
    folder = paths.open_root(str(root), create=False).open_child("folder", create=False)

    monkeypatch.setattr(paths, "_FILE", 0)  # as on a system without O_NOFOLLOW
    real = os.open

    def swap_then_open(path: Path, *arguments: int) -> int:
        path.unlink()
        path.symlink_to(outside / "secret")
        return real(path, *arguments)

    with monkeypatch.context() as late:
        late.setattr(os, "open", swap_then_open)
        with pytest.raises(OSError, match="not a regular file"):
            folder.open("secret", os.O_RDONLY)

    (root / "folder").rename(root / "parked")
    (root / "folder").symlink_to(outside)
    for step in (
        lambda: folder.stat("secret"),
        lambda: folder.open("new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        lambda: folder.unlink("secret"),
        lambda: folder.rename("secret", "new"),
        lambda: folder.open_child("below", create=True),
        lambda: list(folder.scan()),
    ):
        with pytest.raises(OSError, match="the path contains a link"):
            step()
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_root_that_was_deleted_before_the_first_use_is_created(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path / "above" / "root")
    assert not (tmp_path / "above").exists(), "nothing is made before the first write"
    assert storage.list_files() == []
    assert storage.exists("a") is False
    assert storage.delete("a") is False
    with pytest.raises(StorageNotFound):
        storage.load("a")
    assert not (tmp_path / "above").exists()
    storage.save("a/b", b"1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "above").rglob("*")}
    assert modes == {"root": 0o700, "a": 0o700, "b": 0o600}
    assert stat.S_IMODE((tmp_path / "above").stat().st_mode) == 0o700
