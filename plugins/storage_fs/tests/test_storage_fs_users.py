"""Folders of two users: what one may not write is read-only, what one may not read is named or passed over."""

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


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that everybody can reach; pytest closes its own to others, again with each run that begins."""
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


def test_a_folder_that_may_not_be_written_is_read_only(place: Path) -> None:
    storage = FsStorage(place / "root")
    for key in ("file", "folder/other", "closed"):
        storage.save(key, b"old")
    (place / "root" / "closed").chmod(0)
    become = ""
    if os.geteuid() == 0:  # who may do everything; so ask somebody else
        (place / "root" / "file").chmod(0o644)
        become = BECOME_NOBODY
    for folder in (place / "root", place / "root" / "folder"):
        folder.chmod(0o555)
    try:
        out, said = child(become + LOCKED, place / "root").communicate()
    finally:
        for folder in (place / "root", place / "root" / "folder"):
            folder.chmod(0o700)
    lines = out.splitlines()
    assert lines[:4] == ["StorageReadOnly None True True"] * 4, said
    assert lines[4] == "b'old' ['closed', 'file', 'folder/other']"
    assert lines[5].startswith("StorageError the storage may not be read")


LISTS = """
def told(call):
    try:
        print(call())
    except Exception as error:
        print(type(error).__name__, error.message, error.where, error.__context__)

told(lambda: storage.list_files())
told(lambda: [info.key for info in storage.list_page()])
told(lambda: storage.list_files("lost+found/"))
"""
OWN = """
import os
os.mkdir(sys.argv[1] + "/mine"), os.chmod(sys.argv[1] + "/mine", int(sys.argv[2], 8))
"""


@pytest.mark.parametrize("mode", [0o000, 0o700, 0o711, 0o744])
def test_another_user_s_closed_folder_is_passed_over_and_one_s_own_is_named(place: Path, mode: int) -> None:
    root = place / "root"
    storage, become = FsStorage(root), ""
    for key in ("a", "lost+found/b", "z"):
        storage.save(key, b"1")
    if os.geteuid() == 0:  # who may read everything; so ask somebody else
        become = BECOME_NOBODY
        root.chmod(0o777)
        (root / "lost+found").chmod(mode)
        out, said = child(become + LISTS, root).communicate()
        assert out.splitlines()[:2] == ["['a', 'z']"] * 2, said
        explicit = out.splitlines()[2]
        assert "StorageError the storage may not be read" in explicit or mode == 0o744
        assert "lost+found" in explicit
    out, said = child(become + OWN + LISTS, root, f"{mode & 0o466:o}").communicate()
    fault = f"StorageError the storage may not be read: Permission denied (EACCES) {root}/mine None"
    (root / "mine").chmod(0o700)
    assert out.splitlines()[:2] == [fault] * 2, said
