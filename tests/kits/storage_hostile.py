"""Thousands of hostile keys, and programs that try them in a namespace where only a scratch folder is writable.

`python -m tests.kits.storage_hostile WHAT FOLDER` runs one; test_storage_fs_hostile.py starts it in a mount namespace of its
own.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from llmcore.errors import StorageError, StorageFull, StorageKeyError, StorageReadOnly
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage

PIECES = (
    "", ".", "..", "...", "~", "~root", "a", "A", "link", "up", "secret", "file", "folder", "C:", "c:a", "\\", "..\\..",
    "\\\\host\\share", "con", "NUL.txt", "com1", "lpt\xb9.log", "COM0 .x", "conin$", "a.", "a ", " a", "a:stream", "nul\0byte",
    "\n", "\x7f", "\x85", "\u2028", "\ud800", "\udce9", "e\u0301", "\xe9", "\ufb01", "\u202e", "\u2025", "\uff0e\uff0e",
    "\uff0f", "%2e%2e", "%2f", "..%c0%af", "file:", "zip:", "http:", "*", "?", "<x>", "$HOME", "`id`", "-rf", "x" * 255,
    "x" * 256, "\xe9" * 128, ".llmcore-tmp-1-00", ".LLMCORE-TMP-1-00",
)  # fmt: skip
WHOLE = (
    "/etc/passwd", "//etc/passwd", "/".join([".."] * 30) + "/etc/passwd", "file:///etc/passwd", "zip://::/etc/passwd",
    "a/" * 100 + "b", "x/" * 60 + "y" * 255, "k" * 1025, "/".join(["x" * 200] * 6), "\\\\?\\C:\\x", "//?/C:/x", "CON/a", "a/NUL",
)  # fmt: skip
AROUND = (
    "folder/link/{0}", "folder/{0}/x", "{0}/../{0}", "a/{0}/../../x", "{0}/", "/{0}", "./{0}", "../{0}", "{0}\\..\\x",
    "up/{0}/new", "link/{0}/new", "file/{0}", "folder/up/../{0}", "a/{0}//b", "{0}.", "{0} ", "C:/{0}", "file:///{0}",
    "{0}\0.txt", "..%2f{0}", "..\\{0}", "~/{0}", "new/{0}/{0}", "{0}/{0}/{0}", "{0}\n",
    "link/../{0}", "{0}/secret", "{0}/../outside/new", "//{0}//", "\\\\?\\{0}", "{0}:$DATA", "{0}/..", "{0}/.", "a/b/../../../{0}",
    "%2e%2e/{0}", "zip://{0}::file:///x", "{0}/CON", "nul/{0}", "{0}\u2028", "\ufeff{0}", "{0}/e\u0301", "{0}/\udcff", "\u202e{0}",
    "{0}/.llmcore-tmp-2", "{0}?x", "{0}*", "<{0}>", "a|{0}",
)  # fmt: skip


def list_hostile_keys() -> list[str]:
    """Return thousands of keys that lead somewhere else if they are let."""
    found = [*WHOLE, *map("/".join, itertools.product(PIECES, PIECES))]
    found += [*(shape.format(piece) for shape in AROUND for piece in PIECES), *PIECES]
    return list(dict.fromkeys(found))


def generate_keys(seed: int) -> Iterator[str]:
    """Yield random keys made of hostile parts, usual parts, and any characters."""
    chance = random.Random(seed)  # noqa: S311 - the same keys each time
    usual = ("report", "2026", "november.txt", "data", "x.bin", "A", "b-c", "gr\xfc\xdfe")
    while True:
        parts = []
        for _ in range(chance.randrange(1, 6)):
            kind = chance.random()
            if kind < 0.35:
                parts.append(chance.choice(PIECES))
            elif kind < 0.75:
                parts.append(chance.choice(usual) + str(chance.randrange(100)))
            else:
                parts.append("".join(chr(chance.randrange(0x3000)) for _ in range(chance.randrange(1, 6))))
        yield chance.choice(("/", "/", "/", "/", "//", "\\", "/../")).join(parts)


class Trap:
    """A root full of links to a folder next to it, in which nothing may ever change."""

    def __init__(self, above: Path) -> None:
        self.outside = above / "outside"
        self.root = above / "root"
        self.outside.mkdir()
        (self.root / "folder").mkdir(parents=True)
        (self.outside / "secret").write_bytes(b"not yours")
        for name, target in {
            "link": "outside",
            "up": ".",
            "file": "outside/secret",
            "new": "outside/new",
        }.items():
            (self.root / name).symlink_to(above / target)
            (self.root / "folder" / name).symlink_to(above / target)
        self.before = self.read()

    def read(self) -> dict[str, object]:
        above = self.root.parent
        seen = {str(path): path.lstat().st_mtime_ns for path in self.outside.rglob("*")}
        links = {str(path): path.readlink() for path in self.root.rglob("*") if path.is_symlink()}
        return {**seen, **links, "above": sorted(path.name for path in above.iterdir())}

    def check(self) -> None:
        assert self.read() == self.before


def save_or_refuse(storage: FsStorage, key: str) -> bool:
    """Save the key itself under the key; return whether it was accepted, and then is there."""
    data = key.encode("utf-8", "surrogatepass")
    refused = None
    try:
        storage.save(key, data)
    except StorageKeyError as error:
        refused = error
    if refused:
        assert refused.expected
        assert refused.where
        assert refused.__context__ is None
        for method in (storage.load, storage.get_file_size, storage.get_modified_time):
            _call(partial(method, key), StorageError)
        return False
    assert storage.load(key) == data
    assert storage.exists(key)
    return True


def _call(call: Callable[[], Any], expected: type[StorageError] | None = None) -> Any:
    """Return what *call* returns, or None where it raised one of our errors; *expected* must be raised."""
    try:
        result = call()
    except StorageError as error:
        if expected is not None and not isinstance(error, expected):
            raise
        return None
    assert expected is None, f"{result!r} came back"
    return result


def _list_ways(storage: FsStorage, key: str) -> list[Callable[[], Any]]:
    """Return calls of every method that must refuse *key*; "mine" is a file."""
    return [
        lambda: storage.load(key),
        lambda: list(storage.load_stream(key)),
        lambda: storage.get_file_info(key),
        lambda: storage.load_with_etag(key),
        lambda: storage.save(key, b"1"),
        lambda: storage.save_stream(key, [b"1"]),
        lambda: storage.save_if_match(key, b"1", "etag"),
        lambda: storage.save_if_absent(key, b"1"),
        lambda: storage.copy(key, "new file"),
        lambda: storage.move(key, "new file"),
        lambda: storage.copy("mine", key),
        lambda: storage.move("mine", key),
    ]


def keys(scratch: Path) -> dict[str, int]:
    """Try every method with every key. At the end, exactly the accepted files must exist, unchanged."""
    trap, storage = Trap(scratch), FsStorage(scratch / "root")
    storage.save("mine", b"mine")
    corpus, generated = list_hostile_keys(), set[str]()
    for key in generate_keys(seed=6):
        generated.add(key)
        if len(generated) == 100_000:
            break
    accepted = {"mine"}
    for key in corpus:
        _call(partial(storage.list_page, key, 10))
        if save_or_refuse(storage, key):
            accepted.add(key)
            continue
        for call in _list_ways(storage, key):
            _call(call, StorageError)
        _call(partial(storage.create_directory, key))
        assert not _call(partial(storage.exists, key))
        assert not _call(partial(storage.delete, key))
    for key in sorted(generated):
        if save_or_refuse(storage, key):
            accepted.add(key)
    assert not (scratch / "root" / "new file").exists()
    assert list(storage.list_files()) == sorted(accepted)
    assert all(storage.load(key) == key.encode() for key in accepted), "two keys shared one file"
    trap.check()
    return {"corpus": len(corpus), "generated": len(generated), "accepted": len(accepted)}


def races(scratch: Path) -> dict[str, int]:
    """Swap a folder for a link 10,000 times while every method works below it."""
    root, outside = scratch / "root", scratch / "outside"
    (root / "parked").mkdir(parents=True)
    (root / "swapped").mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"not yours")
    flips, done = 0, threading.Event()

    def flip() -> None:
        nonlocal flips
        number = 0
        while flips < 10_000:
            number += 1
            with suppress(OSError):
                (root / "swapped").rename(root / "parked" / str(number))
                (root / "swapped").symlink_to(outside)
                flips += 1
                (root / "swapped").unlink()
            with suppress(FileExistsError):
                (root / "swapped").mkdir()
        done.set()

    storage = FsStorage(root)
    storage.save("mine", b"1")
    calls: list[Callable[[], Any]] = [
        lambda: storage.save("swapped/new", b"1"),
        lambda: storage.save_stream("swapped/deep/new", [b"1"] * 3),
        lambda: storage.save_if_absent("swapped/absent", b"1"),
        lambda: storage.copy("mine", "swapped/copy"),
        lambda: storage.move("swapped/copy", "swapped/moved"),
        lambda: storage.create_directory("swapped/folder"),
    ]
    leaks: list[Callable[[], Any]] = [
        lambda: storage.load("swapped/secret"),
        lambda: b"".join(storage.load_stream("swapped/secret")),
        lambda: storage.get_file_info("swapped/secret"),
        lambda: storage.move("swapped/secret", "stolen"),
        lambda: storage.copy("swapped/secret", "stolen"),
    ]
    flipper = threading.Thread(target=flip)
    flipper.start()
    rounds = 0
    while not done.is_set():
        for call in calls:
            _call(call)
        for call in leaks:
            _call(call, StorageError)
        assert not _call(lambda: storage.delete("swapped/secret"))
        assert "swapped/secret" not in storage.list_files("swapped/")
        rounds += 1
    flipper.join()
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret": b"not yours"}
    assert not (root / "stolen").exists()
    return {"flips": flips, "rounds": rounds}


def full(scratch: Path) -> dict[str, int]:
    """Fill a disk of 3 MB: acknowledged files stay, others leave nothing, and freed space is used again."""
    storage = FsStorage(scratch / "root")
    kept: dict[str, bytes] = {}
    refused = 0
    while refused < 20:
        key, data = f"folder/{len(kept)}", os.urandom(100_000)
        try:
            if refused % 2:
                storage.save_stream(key, (data[at : at + 10_000] for at in range(0, len(data), 10_000)))
            else:
                storage.save(key, data)
            kept[key] = data
        except StorageFull:
            refused += 1
    try:
        storage.copy("folder/0", "folder/copy")
        raise AssertionError("there was no room")
    except StorageFull:
        pass
    assert {key: storage.load(key) for key in storage.list_files()} == kept
    assert not list((scratch / "root").rglob(".llmcore-tmp-*"))
    storage.delete("folder/0")
    storage.save("folder/0", b"again")
    return {"kept": len(kept), "refused": refused}


def readonly(scratch: Path) -> dict[str, int]:
    """Write to a file system that is mounted read-only: told as such, and what is there can be read."""
    storage = FsStorage(scratch / "root")
    assert storage.load("file") == b"old"
    calls: list[Callable[[], Any]] = [
        lambda: storage.save("file", b"new"),
        lambda: storage.save("folder/new", b"new"),
        lambda: storage.save_stream("file", [b"new"]),
        lambda: storage.save_if_absent("new", b"new"),
        lambda: storage.save_if_match("file", b"new", storage.load_with_etag("file")[1]),
        lambda: storage.copy("file", "twin"),
        lambda: storage.move("file", "twin"),
        lambda: storage.delete("file"),
        lambda: storage.create_directory("folder"),
    ]
    for call in calls:
        _call(call, StorageReadOnly)
    assert storage.load("file") == b"old"
    assert storage.list_files() == ["file"]
    return {"refused": len(calls)}


def files(scratch: Path) -> dict[str, int]:
    """Put something that is not a regular file under a key; the storage must not block on it, read it or change it."""
    kinds: dict[str, Callable[[Path], Any]] = {
        "fifo": os.mkfifo,
        "folder": _fill_folder,
        "link": lambda path: path.symlink_to("/dev/zero"),
        "null": lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)),
        "zero": lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5)),
        "block": lambda path: os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, 0)),
    }
    tried = 0
    for name, ways in (("descriptors", folders), ("paths", paths)):
        root = scratch / name
        root.mkdir()
        storage = FsStorage(root, open_root=ways.open_root)
        storage.save("mine", b"1")
        for kind, make in kinds.items():
            with suppress(PermissionError):  # devices, in a user's own namespace
                make(root / kind)
        sparse = root / "sparse"
        with sparse.open("wb") as file:
            file.truncate(10 << 30)
        _call(partial(storage.load, "sparse"), StorageError)
        _call(partial(storage.load_with_etag, "sparse"), StorageError)
        for kind in kinds:
            if not (root / kind).exists() and not (root / kind).is_symlink():
                continue
            before = (root / kind).lstat()
            for call in _list_ways(storage, kind):
                _call(call, StorageError if kind == "folder" else StorageKeyError)
                tried += 1
            assert storage.exists(kind) is False
            assert storage.delete(kind) is False
            after = (root / kind).lstat()
            assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        assert storage.list_files() == ["mine", "sparse"]
    return {"tried": tried}


def _fill_folder(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "inside")


def _check_that_only_the_scratch_is_writable(scratch: Path) -> None:
    for place in ("/", "/etc", str(Path(__file__).parent), str(scratch.parent)):
        try:
            Path(place, "llmcore-must-not-be-there").write_bytes(b"")
        except OSError:
            continue
        raise AssertionError(f"{place} can be written: this is not a namespace of its own")


if __name__ == "__main__":
    _check_that_only_the_scratch_is_writable(Path(sys.argv[2]))
    print(json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]))))  # noqa: T201 - its answer
