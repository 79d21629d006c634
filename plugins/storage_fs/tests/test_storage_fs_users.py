"""Folders of two users: without write permission the storage is read-only; unreadable folders are named or skipped."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_storage_fs.provider import FsStorage

START = "import sys\nfrom llmcore_storage_fs.provider import FsStorage\nstorage = FsStorage(sys.argv[1])\n"


def start_child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that all users can reach; pytest makes its own folders private at the start of each run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


BECOME_NOBODY = """
import os
os.setgroups([]), os.setgid(65534), os.setuid(65534)
"""
LOCKED = """
for call in (lambda: storage.save("file", b"new"), lambda: storage.save("folder/new", b"new"),
             lambda: storage.delete("file"), lambda: storage.create_directory("new")):
    try:
        print("done", call())
    except Exception as error:
        print(type(error).__name__, error.__context__, bool(error.expected), bool(error.fix))
print(storage.load("file"), storage.list_files())
try:
    storage.load("closed")
except Exception as error:
    print(type(error).__name__, error.message)
"""


def test_a_folder_without_write_permission_is_read_only(place: Path) -> None:
    storage = FsStorage(place / "root")
    for key in ("file", "folder/other", "closed"):
        storage.save(key, b"old")
    (place / "root" / "closed").chmod(0)
    become = ""
    if os.geteuid() == 0:  # root may do everything, so use another user
        (place / "root" / "file").chmod(0o644)
        become = BECOME_NOBODY
    for folder in (place / "root", place / "root" / "folder"):
        folder.chmod(0o555)
    try:
        out, errors = start_child(become + LOCKED, place / "root").communicate()
    finally:
        for folder in (place / "root", place / "root" / "folder"):
            folder.chmod(0o700)
    lines = out.splitlines()
    assert lines[:4] == ["StorageReadOnly None True True"] * 4, errors
    assert lines[4] == "b'old' ['closed', 'file', 'folder/other']"
    assert lines[5].startswith("StorageError reading from the storage is not permitted")


LISTS = """
def report(call):
    try:
        print(call())
    except Exception as error:
        print(type(error).__name__, error.message, error.where, error.__context__)

report(lambda: storage.list_files())
report(lambda: [info.key for info in storage.list_page()])
report(lambda: storage.list_files("lost+found/"))
"""
OWN = """
import os
os.mkdir(sys.argv[1] + "/mine"), os.chmod(sys.argv[1] + "/mine", int(sys.argv[2], 8))
"""


@pytest.mark.parametrize("mode", [0o000, 0o700, 0o711, 0o744])
def test_an_unreadable_folder_is_skipped_if_it_is_another_user_s_and_an_error_otherwise(
    place: Path, mode: int
) -> None:
    root = place / "root"
    storage, become = FsStorage(root), ""
    for key in ("a", "lost+found/b", "z"):
        storage.save(key, b"1")
    if os.geteuid() == 0:  # root may read everything, so use another user
        become = BECOME_NOBODY
        root.chmod(0o777)
        (root / "lost+found").chmod(mode)
        out, errors = start_child(become + LISTS, root).communicate()
        assert out.splitlines()[:2] == ["['a', 'z']"] * 2, errors
        explicit = out.splitlines()[2]
        assert "StorageError reading from the storage is not permitted" in explicit or mode == 0o744
        assert "lost+found" in explicit
    out, errors = start_child(become + OWN + LISTS, root, f"{mode & 0o466:o}").communicate()
    fault = (
        f"StorageError reading from the storage is not permitted: Permission denied (EACCES) {root}/mine None"
    )
    (root / "mine").chmod(0o700)
    assert out.splitlines()[:2] == [fault] * 2, errors
