"""What every storage must do: `StorageConformance`, to be inherited by the tests of a backend."""

# The name of each test is the promise it holds.

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest

from llmcore.errors import StorageKeyError, StorageNotFound
from llmcore_testing.conformance.abilities import of
from llmcore_testing.conformance.calling import Call
from llmcore_testing.conformance.canary_tests import CanaryTests
from llmcore_testing.conformance.storage_abilities import HOSTILE, StorageAbilities
from llmcore_testing.conformance.storage_foreign import ForeignFiles

__all__ = ["StorageConformance"]

_GOOD = (
    "a", "a.txt", "a/b/c/d/e/f.bin", "with space/and more.txt", ".hidden", "dots..inside/...x", "UPPER/lower",
    "gr\u00fc\u00dfe/\u043a\u043b\u044e\u0447/\u6587.txt", "emoji/\U0001f600.png", "a-b_c=d+e,f@g(h)[i]{j}!$&'~#%^.txt",
    "%2e%2e/%2f", "n" * 200, "/".join(["deep"] * 16),
)  # fmt: skip
_TWINS = (
    ("case/A.txt", "case/a.txt"),
    ("form/\u00e9.txt", "form/e\u0301.txt"),
    ("form/\ufb01.txt", "form/fi.txt"),
    ("both", "both/file"),
    ("under/file", "under"),
    ("end/dot", "end/dot."),
    ("end/space", "end/space "),
)  # fmt: skip


class StorageConformance(StorageAbilities, ForeignFiles, CanaryTests):
    """The promises of `llmcore.contracts` for storages; the storage that `provider` returns is empty."""

    kind: ClassVar[str] = "storage"
    must: ClassVar[tuple[str, ...]] = ("save", "load", "exists", "delete", "list_files")
    example: ClassVar[str] = "MyStorage(tmp_path)"

    def make_call(self) -> Call:
        """Return a plain call."""
        return "save", "folder/file", b"data"

    def make_odd_call(self) -> Call:
        """Return a call that is refused or misses."""
        return "load", "nothing"

    @pytest.mark.parametrize(
        "data",
        [b"", b"\0", b"text\r\n\x1a", bytes(range(256)), b"x" * 1_048_577],
        ids=["nothing", "zero", "text", "every_byte", "a_megabyte"],
    )
    def test_load_returns_what_was_saved_byte_for_byte(self, data: bytes) -> None:
        assert self.call("save", "folder/file.bin", data) is None, "save returns nothing"
        loaded = self.call("load", "folder/file.bin")
        assert type(loaded) is bytes, f"load must return bytes, got {type(loaded).__name__}"
        assert len(loaded) == len(data), f"{len(data)} bytes were saved, {len(loaded)} came back"
        assert loaded == data, "other bytes came back than were saved"

    @pytest.mark.usefixtures("no_threads")
    def test_it_works_or_refuses_where_no_thread_can_be_started(self) -> None:
        if self.works_or_refuses("save", "folder/file", b"data"):
            assert self.call("load", "folder/file") == b"data"
        if self.caller.has("save_stream"):
            pieces = [b"da", b"ta"]
            source = pieces if self.caller.colour == "sync" else _asynchronous(pieces)
            self.works_or_refuses("save_stream", "folder/stream", source)
            self.works_or_refuses("load_stream", "folder/file")
        self.works_or_refuses("delete", "folder/file")

    def test_saving_again_replaces_the_whole_file(self) -> None:
        for data in (b"first and long", b"second", b"", b"the last one"):
            self.call("save", "a/file", data)
            assert self.call("load", "a/file") == data, "save must replace what was there, wholly"
        assert self._listed() == ["a/file"], "saving again must not make a second file"

    def test_what_was_never_saved_is_not_found(self) -> None:
        self.fails(StorageNotFound, "load", "nothing")
        self.call("save", "a/b", b"1")
        for key in ("a/c", "b", "a/bb", "a/b.txt", "x/y/z"):
            self.fails(StorageNotFound, "load", key)

    def test_exists_tells_files_from_nothing(self) -> None:
        assert self.call("exists", "a/file") is False
        self.call("save", "a/file", b"")
        assert self.call("exists", "a/file") is True
        assert self.call("exists", "a/fil") is False
        self.call("delete", "a/file")
        assert self.call("exists", "a/file") is False

    def test_a_folder_is_no_file(self) -> None:
        self.call("save", "a/b/file", b"1")
        for folder in ("a", "a/b"):
            assert self.call("exists", folder) is False, f"exists({folder!r}): a folder is no file"
            self.fails(StorageNotFound, "load", folder)
            assert self.call("delete", folder) is False, f"delete({folder!r}): there was no file to delete"
        assert self.call("exists", "a/b/file") is True, "deleting a folder's name must not touch its files"
        assert self.call("load", "a/b/file") == b"1"

    def test_there_is_nothing_below_a_file(self) -> None:
        self.call("save", "a/file", b"1")
        for below in ("a/file/below", "a/file/far/below"):
            self.fails(StorageNotFound, "load", below)
            assert self.call("exists", below) is False
            assert self.call("delete", below) is False
            assert self._listed(f"{below}/") == []
        assert self.call("load", "a/file") == b"1"

    def test_a_file_may_stand_where_a_folder_was_emptied(self) -> None:
        self.call("save", "a/b/c/file", b"1")
        self.call("delete", "a/b/c/file")
        try:
            self.call("save", "a/b", b"2")
        except (
            StorageKeyError
        ):  # a server that never lets go of a folder may say so; it may not lose what it took
            assert self._listed() == []
            return
        assert self.call("load", "a/b") == b"2", "a folder without a file is not there"
        self.call("delete", "a/b")
        self.call("save", "a/b/c/file", b"3")
        assert self._listed() == ["a/b/c/file"]

    def test_delete_tells_whether_there_was_a_file(self) -> None:
        assert self.call("delete", "a/file") is False
        self.call("save", "a/file", b"1")
        self.call("save", "a/file2", b"2")
        assert self.call("delete", "a/file") is True
        assert self.call("delete", "a/file") is False
        self.fails(StorageNotFound, "load", "a/file")
        assert self._listed() == ["a/file2"], "delete must remove that file and no other"
        self.call("save", "a/file", b"again")
        assert self.call("load", "a/file") == b"again", "a deleted key may be saved again"

    def test_an_empty_storage_lists_nothing(self) -> None:
        assert self._listed() == []
        assert self._listed("any/prefix") == []

    def test_list_files_is_sorted_and_goes_to_any_depth(self) -> None:
        keys = ["b", "a/b/c", "a.txt", "a/b.txt", "a-b/x", "a/b/a", "Z", "a/b-c", "ab", "\u00e9", "z/1/2/3/4"]
        for key in keys:
            self.call("save", key, key.encode())
        assert self._listed() == sorted(keys), "list_files returns every key, sorted as text"

    def test_list_files_takes_the_prefix_as_text(self) -> None:
        keys = [
            "re",
            "report.txt",
            "reports/2026/nov",
            "reports/2026/oct",
            "reports/2025/nov",
            "other/report",
        ]
        for key in keys:
            self.call("save", key, b"1")
        for prefix in ("re", "rep", "report", "reports", "reports/", "reports/20", "reports/2026/", "reports/2026/n",
                       "reports/2026/nov", "reports/2026/nov/", "o", "x", "reports/x/y", "Re"):  # fmt: skip
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert self._listed(prefix) == expected, f"list_files({prefix!r}) returns the keys that begin so"

    @pytest.mark.parametrize("key", _GOOD, ids=ascii)
    def test_a_good_key_is_kept_as_it_is(self, key: str) -> None:
        self.call("save", key, key.encode())
        assert self.call("load", key) == key.encode()
        assert self.call("exists", key) is True
        assert self._listed() == [key]
        assert self.call("delete", key) is True
        assert self._listed() == []

    @pytest.mark.parametrize("key", HOSTILE, ids=ascii)
    def test_a_key_that_is_no_relative_path_is_refused(self, key: str) -> None:
        self.call("save", "a/b", b"safe")
        self.fails(StorageKeyError, "save", key, b"hostile")
        self.fails(StorageKeyError, "load", key)
        for method in ("exists", "delete"):
            try:
                answer = self.call(method, key)
            except StorageKeyError:
                continue
            assert answer is False, f"{method}({key!r}) must be refused or say False"
        assert self._listed() == ["a/b"], "a refused key must leave nothing behind"
        assert self.call("load", "a/b") == b"safe"

    @pytest.mark.parametrize(
        "prefix", ["../", "/", "/etc/", "a/../", "..", "//", "a//", "nul\0", "\ud800"], ids=ascii
    )
    def test_a_hostile_prefix_lists_nothing(self, prefix: str) -> None:
        self.call("save", "a/b", b"1")
        try:
            listed = list(self.call("list_files", prefix))
        except StorageKeyError:
            return
        assert listed == [], f"no key begins with {prefix!r}"

    @pytest.mark.parametrize("twins", _TWINS, ids=ascii)
    def test_two_keys_never_share_one_file(self, twins: tuple[str, str]) -> None:
        first, second = twins
        self.call("save", first, b"first")
        try:
            self.call("save", second, b"second")
        except StorageKeyError:
            assert self._listed() == [first], "a refused key must leave nothing behind"
        else:
            assert self._listed() == sorted(twins), "both keys were accepted: both must be there"
            assert self.call("load", second) == b"second"
        assert self.call("load", first) == b"first", f"saving {second!r} must not touch {first!r}"

    def test_readers_see_the_old_or_the_new_file_and_never_a_mixture(self) -> None:
        values = [bytes([65 + i]) * 65_536 for i in range(6)]
        self.call("save", "shared/file", values[0])
        for _ in range(4):
            calls = [("save", "shared/file", value) for value in values] + [("load", "shared/file")] * 6
            for result in self.together(calls)[len(values) :]:
                assert result in values, f"a reader got {len(result)} bytes that nobody saved in one piece"
        assert self.call("load", "shared/file") in values
        assert self._listed() == ["shared/file"]

    def test_files_saved_at_once_are_all_there(self) -> None:
        keys = [f"many/{i % 3}/{i}" for i in range(24)]
        self.together([("save", key, key.encode()) for key in keys])
        assert self._listed() == sorted(keys)
        assert self.together([("load", key) for key in keys]) == [key.encode() for key in keys]

    def test_several_deletes_at_once_leave_no_file(self) -> None:
        self.call("save", "a/file", b"1")
        answers = self.together([("delete", "a/file")] * 6)
        assert {type(answer) for answer in answers} == {bool}, "delete returns True or False"
        assert True in answers, "one of them found the file"
        assert self.call("exists", "a/file") is False

    @of("create_directory")
    def test_a_folder_may_be_made_more_than_once(self) -> None:
        self._file_system()
        self.call("create_directory", "a/b/c")
        self.call("create_directory", "a/b/c")
        self.call("create_directory", "a")
        assert self.call("exists", "a/b/c") is False, "a folder is no file"
        assert self._listed() == [], "list_files lists files alone"
        self.call("save", "a/b/c/file", b"1")
        self.call("create_directory", "a/b/c")
        assert self.call("load", "a/b/c/file") == b"1", "making a folder that exists must leave its files"

    @of("create_directory")
    def test_no_folder_is_made_where_a_file_stands_or_the_key_is_bad(self) -> None:
        self._file_system()
        self.call("save", "a/file", b"1")
        self.fails(StorageKeyError, "create_directory", "a/file")
        for key in HOSTILE:
            self.fails(StorageKeyError, "create_directory", key)
        assert self.call("load", "a/file") == b"1"

    @of("create_directory")
    def test_size_and_time_are_those_of_the_last_save(self) -> None:
        self._file_system()
        modified = 0.0
        for data in (b"", b"12345", b"x" * 100_000, b"1"):
            self.call("save", "a/file", data)
            assert self.call("get_file_size", "a/file") == len(data)
            now = self.call("get_modified_time", "a/file")
            assert now >= modified, "a later save has no earlier time"
            modified = now
        assert abs(modified - time.time()) < 86_400, f"{modified} are not seconds since 1970-01-01 UTC"

    @of("create_directory")
    def test_what_was_never_saved_has_no_size_and_no_time(self) -> None:
        self._file_system()
        for method in ("get_file_size", "get_modified_time"):
            self.fails(StorageNotFound, method, "a/file")
            for key in HOSTILE:
                self.fails(StorageKeyError, method, key)

    def _file_system(self) -> None:
        self.needs("create_directory", "get_file_size", "get_modified_time")

    def _listed(self, prefix: str = "") -> list[Any]:
        listed = self.call("list_files", prefix) if prefix else self.call("list_files")
        assert not isinstance(listed, str), "list_files returns a sequence of keys, not one text"
        return list(listed)


async def _asynchronous(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
