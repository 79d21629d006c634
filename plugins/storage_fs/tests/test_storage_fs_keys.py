"""No key leads outside of the root, two keys never share a file, and only our errors are raised."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmcore.errors import ConfigError, StorageError, StorageKeyError
from llmcore.support import storage_keys as keys
from llmcore_storage_fs import folders, paths
from llmcore_storage_fs.provider import FsStorage
from tests.kits.storage_hostile import PIECES, Trap, list_hostile_keys, save_or_refuse


@pytest.mark.slow
@pytest.mark.parametrize("ways", [folders, paths], ids=["descriptors", "paths"])
def test_hostile_keys_never_leave_the_root_and_never_collide(tmp_path: Path, ways: object) -> None:
    trap = Trap(tmp_path)
    storage = FsStorage(trap.root, open_root=ways.open_root)  # type: ignore[attr-defined]
    accepted = sorted({key for key in list_hostile_keys() if save_or_refuse(storage, key)})
    assert 100 < len(accepted) < 1000
    assert [key for key in accepted if storage.load(key) != key.encode()] == []
    assert storage.list_files() == accepted
    trap.check()


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Trap:
    return Trap(tmp_path_factory.mktemp("trap"))


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from(PIECES), st.text(max_size=12), st.text("./\\:a\0~\u0301", max_size=8)),
        max_size=6,
    )
)
@example(["link", "new"])
@example(["up", "up", "outside", "secret"])
def test_a_generated_key_is_refused_or_names_one_file_inside(trap: Trap, parts: list[str]) -> None:
    key = "/".join(parts)
    storage = FsStorage(trap.root)
    if save_or_refuse(storage, key):
        assert key in storage.list_files(key[: len(key) // 2])
        assert unicodedata.is_normalized("NFC", key)
        assert storage.delete(key)
        assert not storage.exists(key)
    trap.check()


@given(st.text(max_size=40))
def test_an_accepted_key_is_listed_and_equals_its_joined_parts(key: str) -> None:
    try:
        parts = keys.parse(key)
    except StorageKeyError:
        return
    assert "/".join(parts) == key
    assert not any(keys.find_part_fault(part) for part in parts)
    for end in range(len(key)):
        folders_of, beginning = keys.parse_prefix(key[:end])
        assert "/".join([*folders_of, beginning]) == key[:end]


@pytest.mark.parametrize(
    ("key", "mended"),
    [
        ("a//b", "a/b"),
        ("/a/b/", "a/b"),
        ("./a", "a"),
        ("a\\b", "a/b"),
        ("e\u0301.txt", "\xe9.txt"),
        ("a. ", "a"),
    ],
)
def test_the_error_for_a_refused_key_suggests_an_acceptable_key(
    tmp_path: Path, key: str, mended: str
) -> None:
    with pytest.raises(StorageKeyError) as caught:
        FsStorage(tmp_path).save(key, b"")
    assert caught.value.fix == f"write the key as {mended!r}"


@pytest.mark.parametrize("key", ["../a", "C:/a", "", "con", "\0"])
def test_no_key_is_suggested_if_the_intention_is_unclear(tmp_path: Path, key: str) -> None:
    with pytest.raises(StorageKeyError) as caught:
        FsStorage(tmp_path).load(key)
    assert caught.value.fix is None


@pytest.mark.parametrize("key", [None, b"a", 1, Path("a")])
def test_a_key_that_is_not_text_is_refused(tmp_path: Path, key: str) -> None:
    for method in (FsStorage(tmp_path).load, FsStorage(tmp_path).list_files):
        with pytest.raises(StorageKeyError, match=f"must be text, got {type(key).__name__}"):
            method(key)


@pytest.mark.parametrize("root", ["", "nul\0", None, 1, b"data"])
def test_a_root_that_is_not_a_path_is_a_configuration_error(root: str) -> None:
    with pytest.raises(ConfigError, match="root must be a path, got"):
        FsStorage(root)


class Folding(folders.DescriptorFolder):
    """A folder of a file system that ignores case and zero-width characters.

    So do those of macOS the one, and Linux's folders that fold case both.
    """

    def _find_known(self, name: str) -> str:
        def fold(text: str) -> str:
            return text.lower().translate(dict.fromkeys((0x200B, 0x200D, 0xFE0F)))

        return next((entry.name for entry in super().scan() if fold(entry.name) == fold(name)), name)

    def stat(self, name: str) -> os.stat_result:
        return super().stat(self._find_known(name))

    def open(self, name: str, flags: int) -> int:
        return super().open(self._find_known(name), flags)

    def open_child(self, name: str, *, create: bool) -> Folding:
        deeper = super().open_child(self._find_known(name), create=create)
        fd, deeper._fd = deeper._fd, -1
        return Folding(fd)

    def rename(self, old: str, new: str, into: folders.DescriptorFolder | None = None) -> None:
        super().rename(old, self._find_known(new), into)


def open_folding(path: str, *, create: bool) -> Folding:
    root = folders.open_root(path, create=create)
    fd, root._fd = root._fd, -1
    return Folding(fd)


def test_keys_that_differ_in_case_do_not_share_a_file_on_a_case_insensitive_file_system(
    tmp_path: Path,
) -> None:
    storage = FsStorage(tmp_path, open_root=open_folding)
    storage.save("Folder/Name", b"1")
    for twin in ("Folder/name", "folder/Name", "FOLDER/other"):
        with pytest.raises(StorageKeyError, match=r"treats '.*' and '.*' as the same name"):
            storage.save(twin, b"2")
        with pytest.raises(StorageError):
            storage.load(twin)
        assert not storage.exists(twin)
        assert not storage.delete(twin)
    assert storage.list_files("folder/") == []
    assert storage.list_files() == ["Folder/Name"]
    assert storage.load("Folder/Name") == b"1"


@pytest.mark.parametrize(
    ("name", "twins"),
    [
        ("1", ["1\u200b", "\u200b1", "1\u200d\u200d"]),
        ("1\u200b2", ["12", "1\u200d2", "12\ufe0f"]),
        ("\u6587.1", ["\u6587\u200b.1"]),
        ("\u2764\ufe0f", ["\u2764"]),
        ("a", ["a\u200b", "A\u200b"]),
        ("1" * 252 + "\u200b", ["1" * 252]),
    ],
)
def test_keys_that_differ_in_zero_width_characters_do_not_share_a_file(
    tmp_path: Path, name: str, twins: list[str]
) -> None:
    storage = FsStorage(tmp_path / "folding", open_root=open_folding)
    storage.save(name, b"1")
    storage.save(f"in/{name}/x", b"1")
    for twin in twins:
        for key in (twin, f"in/{twin}/x"):
            with pytest.raises(StorageKeyError, match=r"treats '.*' and '.*' as the same name"):
                storage.save(key, b"2")
            with pytest.raises(StorageKeyError):
                storage.load(key)
            assert not storage.delete(key)
    storage.save(name, b"3")
    assert (storage.load(name), storage.list_files()) == (b"3", sorted([name, f"in/{name}/x"]))
    elsewhere = FsStorage(tmp_path / "exact")
    for key in (name, *twins):
        elsewhere.save(key, key.encode())
    assert elsewhere.list_files() == sorted([name, *twins])
    assert all(elsewhere.load(key) == key.encode() for key in (name, *twins))
