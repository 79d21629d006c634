"""Acknowledged writes survive killed and concurrent writers, a full or broken disk, and a read-only folder."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import StorageError, StorageFull
from llmcore.support import storage_keys as keys
from llmcore_storage_fs import folders, locks, paths
from llmcore_storage_fs.provider import FsStorage

START = "import sys\nfrom llmcore_storage_fs.provider import FsStorage\nstorage = FsStorage(sys.argv[1])\n"
WRITE_AND_REPORT = """
for n in range(int(sys.argv[2]), 1_000_000):
    key, data = f"folder/{n % 3}", b"%012d" % n * 20_000
    if n % 4 == 0:
        storage.save(key, data)
    elif n % 4 == 1:
        storage.save_stream(key, (data[at : at + 50_000] for at in range(0, len(data), 50_000)))
    elif n % 4 == 2:
        storage.save("spare/file", data)
        storage.move("spare/file", key)
    else:
        old = storage.load_with_etag(key)[1] if storage.exists(key) else None
        storage.save_if_match(key, data, old) if old else storage.save_if_absent(key, data)
    print(n, flush=True)
"""
HOLD_A_TEMPORARY_FILE = """
from llmcore_storage_fs import temporary_files
folder = storage._root.walk(("folder",), create=True)
temporary_files._create(folder)
print("ready", flush=True)
sys.stdin.read()
"""
WRITE_MUCH = """
for n in range(40):
    storage.save(f"folder/{n % 3}", bytes([int(sys.argv[2])]) * 200_000)
"""


def start_child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START + code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def find_leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(keys.TEMPORARY)]


def test_everything_acknowledged_is_readable_after_kill_9(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    n, chance = 0, random.Random(7)  # noqa: S311 - when to kill
    for _ in range(30):
        with start_child(WRITE_AND_REPORT, tmp_path, n) as writer:
            assert writer.stdout
            assert writer.stdin
            for _ in range(chance.randrange(1, 9)):
                n = int(writer.stdout.readline())
                acknowledged[f"folder/{n % 3}"] = n
            writer.kill()
            for line in writer.stdout.read().split("\n")[:-1]:  # it went on until the signal came
                n = int(line)
                acknowledged[f"folder/{n % 3}"] = n
        storage = FsStorage(tmp_path)
        assert find_leftovers(tmp_path) == []
        storage.delete("spare/file")
        for key in storage.list_files():
            data = storage.load(key)
            found = int(data[:12])
            assert data == b"%012d" % found * 20_000
            # The write in progress may have been completed before it was reported.
            assert found == acknowledged.get(key) or found == n + 1
            acknowledged[key] = found
        assert set(acknowledged) <= set(storage.list_files())
        n += 2


def test_a_temporary_file_is_deleted_only_after_its_writer_died(tmp_path: Path) -> None:
    with start_child(HOLD_A_TEMPORARY_FILE, tmp_path) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        storage = FsStorage(tmp_path)
        assert len(find_leftovers(tmp_path)) == 1
        assert storage.list_files() == [], "an unfinished file must not be listed"
        writer.kill()
    FsStorage(tmp_path)
    assert find_leftovers(tmp_path) == []


def test_the_sweep_deletes_only_temporary_files(tmp_path: Path) -> None:
    name = f"{keys.TEMPORARY}1-00"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / name).write_bytes(b"not yours")
    root = tmp_path / "root"
    (root / name).mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "a").mkdir()
    (root / "a" / name).symlink_to(tmp_path / "outside" / name)
    os.mkfifo(root / "a" / f"{name}1")
    (root / "a" / f"{name}2").write_bytes(b"dead")
    FsStorage(root)
    assert [path.name for path in find_leftovers(root / "a")] == [name, f"{name}1"]
    assert (root / name).is_dir()
    assert (tmp_path / "outside" / name).read_bytes() == b"not yours"


def test_readers_see_complete_files_while_processes_write(tmp_path: Path) -> None:
    writers = [start_child(WRITE_MUCH, tmp_path, n) for n in range(1, 9)]
    whole = {bytes([n]) * 200_000 for n in range(1, 9)}
    seen = 0
    while any(writer.poll() is None for writer in writers):
        storage = FsStorage(tmp_path)  # each opening sweeps: what lives must not be swept away
        for key in storage.list_files():
            assert storage.load(key) in whole
            seen += 1
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    assert seen > 0
    assert storage.list_files() == ["folder/0", "folder/1", "folder/2"]
    assert find_leftovers(tmp_path) == []


COUNT = """
for _ in range(int(sys.argv[2])):
    while True:
        data, etag = storage.load_with_etag("counter")
        try:
            storage.save_if_match("counter", b"%d" % (int(data) + 1), etag)
            break
        except StorageChanged:
            pass
"""


def test_eight_processes_count_together_without_lost_updates(tmp_path: Path) -> None:
    FsStorage(tmp_path).save("counter", b"0")
    counters = [
        start_child("from llmcore.errors import StorageChanged\n" + COUNT, tmp_path, 25) for _ in range(8)
    ]
    for counter in counters:
        _, errors = counter.communicate()
        assert counter.returncode == 0, errors
    assert FsStorage(tmp_path).load("counter") == b"200"
    assert find_leftovers(tmp_path) == []


def test_a_conditional_save_never_overwrites_a_later_plain_save(tmp_path: Path) -> None:
    """Start a plain save between the check of the ETag and the rename: it must wait for the lock."""
    storage = FsStorage(tmp_path)
    etag = storage.save_if_absent("file", b"old")
    plain = threading.Thread(target=lambda: FsStorage(tmp_path).save("file", b"plain"))

    class Late(folders.DescriptorFolder):
        def rename(self, old: str, new: str, into: folders.DescriptorFolder | None = None) -> None:
            plain.start()
            plain.join(0.3)  # it would be done by then, were it not locked out
            super().rename(old, new, into)

    def open_late(path: str, *, create: bool) -> Late:
        opened = folders.open_root(path, create=create)
        fd, opened._fd = opened._fd, -1
        return Late(fd)

    FsStorage(tmp_path, open_root=open_late).save_if_match("file", b"conditional", etag)
    plain.join()
    assert storage.load("file") == b"plain", "the later of the two was acknowledged, and is gone"


def test_a_lock_that_is_never_released_is_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FsStorage(tmp_path)
    storage.save("file", b"old")
    monkeypatch.setattr(locks, "TIMEOUT_S", 0.05)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        for write in (lambda: storage.save("file", b"new"), lambda: storage.delete("file")):
            with pytest.raises(StorageError, match="another process holds the folder lock") as caught:
                write()
            assert caught.value.fix
        assert storage.load("file") == b"old", "readers need no lock"
    finally:
        os.close(fd)
    storage.save("file", b"new")
    assert storage.load("file") == b"new"
    assert find_leftovers(tmp_path) == []


def test_a_file_system_without_locks_refuses_conditional_saves_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    storage = FsStorage(tmp_path)
    storage.save("file", b"old")
    storage.move("file", "moved")
    saves: list[Callable[[], object]] = [
        lambda: storage.save_if_absent("new", b"1"),
        lambda: storage.save_if_match("moved", b"1", storage.load_with_etag("moved")[1]),
    ]
    for save in saves:
        with pytest.raises(StorageError, match="which conditional saves need") as caught:
            save()
        assert type(caught.value) is StorageError
    assert storage.list_files() == ["moved"]
    assert storage.load("moved") == b"old"


NAMES = ("open", "mkdir", "write", "fsync", "rename", "replace", "stat", "lstat", "fstat", "scandir")


def test_the_old_or_the_new_file_is_complete_after_any_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let each system call fail in turn."""
    for ways, number in [(ways, number) for ways in (folders, paths) for number in (errno.EIO, errno.ENOSPC)]:
        root = tmp_path / f"{ways.__name__}{number}"
        storage = FsStorage(root, open_root=ways.open_root)
        storage.save("folder/file", b"old")
        for turn in range(1, 200):
            calls = 0

            def failing(real: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal calls
                    calls += 1
                    if calls == turn:  # noqa: B023 - it is called within this turn
                        raise OSError(number, os.strerror(number))  # noqa: B023
                    return real(*arguments, **options)

                return call

            with monkeypatch.context() as broken:
                for name in NAMES:
                    broken.setattr(os, name, failing(getattr(os, name)))
                try:
                    storage.save("folder/file", b"new")
                    failed = None
                except StorageError as error:
                    failed = error
            if calls < turn:
                break
            assert storage.load("folder/file") in (b"old", b"new")
            assert find_leftovers(root) == []
            if failed is not None:
                assert failed.__context__ is None
                assert failed.expected
                assert failed.fix
                assert isinstance(failed, StorageFull) or number == errno.EIO
        assert 8 < turn < 199
        assert storage.load("folder/file") == b"new"


def test_the_file_is_synced_before_the_rename_and_the_folder_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FsStorage(tmp_path).save("folder/file", b"old")
    done: list[tuple[str, bool]] = []

    def record_calls(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            on_folder = name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
            done.append((name, on_folder))
            return real(*arguments, **options)

        return call

    for name in ("write", "fsync", "rename"):
        monkeypatch.setattr(os, name, record_calls(name, getattr(os, name)))
    FsStorage(tmp_path).save("folder/file", b"new")
    if not hasattr(fcntl, "F_FULLFSYNC"):
        assert done == [("write", False), ("fsync", False), ("rename", False), ("fsync", True)]
    done.clear()
    FsStorage(tmp_path).save("other/folder/file", b"new")
    assert done.count(("fsync", True)) == 3, "each new folder is in the one above it"


def test_a_partial_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: max(1, len(data) // 2)]))
    data = bytes(range(256)) * 100
    FsStorage(tmp_path).save("a", data)
    assert FsStorage(tmp_path).load("a") == data


FILL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
storage.save("folder/file", b"old")
try:
    storage.save("folder/file", bytes(3 << 20))
except Exception as error:
    print(type(error).__name__, error.__context__, bool(error.expected), bool(error.fix))
print(storage.load("folder/file"), storage.list_files())
"""


def test_a_full_disk_does_not_change_the_existing_file(tmp_path: Path) -> None:
    out, errors = start_child(FILL, tmp_path).communicate()
    assert out.splitlines() == ["StorageFull None True True", "b'old' ['folder/file']"], errors
    assert find_leftovers(tmp_path) == []
