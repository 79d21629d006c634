"""`StorageConformance`, the tests for every storage backend."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest

from llmcore.errors import StorageDenied, StorageError, StorageKeyError, StorageNotFound, StorageUnavailable
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.broken_server import BrokenServer
from llmcore_testing.conformance.caller import Call
from llmcore_testing.conformance.large_values import are_equal
from llmcore_testing.conformance.storage_abilities import HOSTILE
from llmcore_testing.conformance.storage_foreign_files import ForeignFiles
from llmcore_testing.conformance.storage_metadata import MetadataTests
from llmcore_testing.conformance.storage_races import StorageRaces
from llmcore_testing.conformance.storage_volume import VolumeTests

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


class StorageConformance(VolumeTests, StorageRaces, MetadataTests, ForeignFiles, BrokenServer):
    """Tests the contract `llmcore.contracts.storage`. The storage that `provider` returns must be empty.

    Override the fixture `twin` too if several instances can use the same files, and `upstream`, `broken` and `denied` if there
    is a server.
    """

    kind: ClassVar[str] = "storage"
    must: ClassVar[tuple[str, ...]] = ("save", "load", "exists", "delete", "list_files")
    example: ClassVar[str] = "MyStorage(tmp_path)"
    failure = StorageError
    away = StorageUnavailable
    refusal = StorageDenied

    def make_call(self) -> Call:
        """Return a call that succeeds."""
        return "save", "folder/file", b"data"

    def make_odd_call(self) -> Call:
        """Return a call that raises or finds nothing."""
        return "load", "nothing"

    def make_write(self, key: str, data: bytes) -> Call:
        """Return the call that stores *data*."""
        return "save", key, data

    def make_read(self, key: str) -> Call:
        """Return the call that returns the bytes of *key*."""
        return "load", key

    def make_other_calls(self, key: str) -> Sequence[Call]:
        """Return calls of all other operations that need the server."""
        return (
            ("exists", key), ("list_files",), ("get_file_info", key), ("list_page",), ("copy", key, "copy"),
            ("load_stream", key), ("load_with_etag", key), ("save_if_absent", "new", b"data"), ("delete", key),
        )  # fmt: skip

    @pytest.mark.parametrize(
        "data",
        [b"", b"\0", b"text\r\n\x1a", bytes(range(256)), b"x" * 1_048_577],
        ids=["nothing", "zero", "text", "every_byte", "a_megabyte"],
    )
    def test_load_returns_the_bytes_that_were_saved(self, data: bytes) -> None:
        assert self.call("save", "folder/file.bin", data) is None, "save returns nothing"
        loaded = self.call("load", "folder/file.bin")
        assert type(loaded) is bytes, f"load must return bytes, got {type(loaded).__name__}"
        assert len(loaded) == len(data), f"load must return all {len(data)} bytes, got {len(loaded)}"
        assert are_equal(loaded, data), "load must return the saved bytes"

    @pytest.mark.usefixtures("no_threads")
    def test_it_works_or_raises_if_no_thread_can_be_started(self) -> None:
        if self.works_or_refuses("save", "folder/file", b"data"):
            assert self.call("load", "folder/file") == b"data"
        if self.caller.has("save_stream"):
            pieces = [b"da", b"ta"]
            source = pieces if self.caller.variant == "sync" else _iterate_async(pieces)
            self.works_or_refuses("save_stream", "folder/stream", source)
            self.works_or_refuses("load_stream", "folder/file")
        self.works_or_refuses("delete", "folder/file")

    def test_saving_again_replaces_the_whole_file(self) -> None:
        for data in (b"first and long", b"second", b"", b"the last one"):
            self.call("save", "a/file", data)
            assert self.call("load", "a/file") == data, "save must replace the whole earlier file"
        assert self._list() == ["a/file"], "saving again must not create a second file"

    def test_load_of_a_key_that_was_never_saved_raises_not_found(self) -> None:
        self.fails(StorageNotFound, "load", "nothing")
        self.call("save", "a/b", b"1")
        for key in ("a/c", "b", "a/bb", "a/b.txt", "x/y/z"):
            self.fails(StorageNotFound, "load", key)

    def test_exists_is_true_for_saved_files_only(self) -> None:
        assert self.call("exists", "a/file") is False
        self.call("save", "a/file", b"")
        assert self.call("exists", "a/file") is True
        assert self.call("exists", "a/fil") is False
        self.call("delete", "a/file")
        assert self.call("exists", "a/file") is False

    def test_a_folder_is_not_a_file(self) -> None:
        self.call("save", "a/b/file", b"1")
        for folder in ("a", "a/b"):
            assert self.call("exists", folder) is False, f"exists({folder!r}) must be False for a folder"
            self.fails(StorageNotFound, "load", folder)
            assert self.call("delete", folder) is False, f"delete({folder!r}) must return False for a folder"
        assert self.call("exists", "a/b/file") is True, "delete of a folder's key must not delete its files"
        assert self.call("load", "a/b/file") == b"1"

    def test_a_key_below_a_file_does_not_exist(self) -> None:
        self.call("save", "a/file", b"1")
        for below in ("a/file/below", "a/file/far/below"):
            self.fails(StorageNotFound, "load", below)
            assert self.call("exists", below) is False
            assert self.call("delete", below) is False
            assert self._list(f"{below}/") == []
        assert self.call("load", "a/file") == b"1"

    def test_an_emptied_folder_can_be_replaced_by_a_file(self) -> None:
        self.call("save", "a/b/c/file", b"1")
        self.call("delete", "a/b/c/file")
        try:
            self.call("save", "a/b", b"2")
        except (
            StorageKeyError
        ):  # a server that keeps empty folders may reject the save, but must store nothing
            assert self._list() == []
            return
        assert self.call("load", "a/b") == b"2", "a folder without files must not exist"
        self.call("delete", "a/b")
        self.call("save", "a/b/c/file", b"3")
        assert self._list() == ["a/b/c/file"]

    def test_delete_returns_whether_there_was_a_file(self) -> None:
        assert self.call("delete", "a/file") is False
        self.call("save", "a/file", b"1")
        self.call("save", "a/file2", b"2")
        assert self.call("delete", "a/file") is True
        assert self.call("delete", "a/file") is False
        self.fails(StorageNotFound, "load", "a/file")
        assert self._list() == ["a/file2"], "delete must delete only that file"
        self.call("save", "a/file", b"again")
        assert self.call("load", "a/file") == b"again", "save must work after delete"

    def test_an_empty_storage_lists_nothing(self) -> None:
        assert self._list() == []
        assert self._list("any/prefix") == []

    def test_list_files_is_sorted_and_recursive(self) -> None:
        keys = ["b", "a/b/c", "a.txt", "a/b.txt", "a-b/x", "a/b/a", "Z", "a/b-c", "ab", "\u00e9", "z/1/2/3/4"]
        for key in keys:
            self.call("save", key, key.encode())
        assert self._list() == sorted(keys), "list_files must return every key, sorted as text"

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
            assert self._list(prefix) == expected, (
                f"list_files({prefix!r}) must return exactly the keys with this prefix"
            )

    @pytest.mark.parametrize("key", _GOOD, ids=ascii)
    def test_a_valid_key_is_stored_unchanged(self, key: str) -> None:
        self.call("save", key, key.encode())
        assert self.call("load", key) == key.encode()
        assert self.call("exists", key) is True
        assert self._list() == [key]
        assert self.call("delete", key) is True
        assert self._list() == []

    @pytest.mark.parametrize("key", HOSTILE, ids=ascii)
    def test_a_key_that_is_not_a_relative_path_is_rejected(self, key: str) -> None:
        self.call("save", "a/b", b"safe")
        self.fails(StorageKeyError, "save", key, b"hostile")
        self.fails(StorageKeyError, "load", key)
        for method in ("exists", "delete"):
            try:
                answer = self.call(method, key)
            except StorageKeyError:
                continue
            assert answer is False, f"{method}({key!r}) must raise StorageKeyError or return False"
        assert self._list() == ["a/b"], "a rejected key must not create a file"
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
        assert listed == [], f"list_files({prefix!r}) must be empty"

    @pytest.mark.parametrize("twins", _TWINS, ids=ascii)
    def test_different_keys_are_different_files(self, twins: tuple[str, str]) -> None:
        first, second = twins
        self.call("save", first, b"first")
        try:
            self.call("save", second, b"second")
        except StorageKeyError:
            assert self._list() == [first], "a rejected key must not create a file"
        else:
            assert self._list() == sorted(twins), "list_files must return both accepted keys"
            assert self.call("load", second) == b"second"
        assert self.call("load", first) == b"first", f"saving {second!r} must not change {first!r}"

    def test_concurrent_readers_get_the_old_or_the_new_file(self) -> None:
        values = [bytes([65 + i]) * 65_536 for i in range(6)]
        self.call("save", "shared/file", values[0])
        for _ in range(4):
            calls = [("save", "shared/file", value) for value in values] + [("load", "shared/file")] * 6
            for result in self.together(calls)[len(values) :]:
                assert result in values, (
                    f"a reader must get one saved version, got a mixture of {len(result)} bytes"
                )
        assert self.call("load", "shared/file") in values
        assert self._list() == ["shared/file"]

    def test_files_saved_concurrently_are_all_kept(self) -> None:
        keys = [f"many/{i % 3}/{i}" for i in range(24)]
        self.together([("save", key, key.encode()) for key in keys])
        assert self._list() == sorted(keys)
        assert self.together([("load", key) for key in keys]) == [key.encode() for key in keys]

    def test_concurrent_deletes_remove_the_file(self) -> None:
        self.call("save", "a/file", b"1")
        answers = self.together([("delete", "a/file")] * 6)
        assert {type(answer) for answer in answers} == {bool}, "delete must return True or False"
        assert True in answers, "at least one concurrent delete must return True"
        assert self.call("exists", "a/file") is False

    @for_ability("create_directory")
    def test_create_directory_may_be_repeated(self) -> None:
        self._needs_file_system()
        self.call("create_directory", "a/b/c")
        self.call("create_directory", "a/b/c")
        self.call("create_directory", "a")
        assert self.call("exists", "a/b/c") is False, "exists must be False for a folder"
        assert self._list() == [], "list_files must not return folders"
        self.call("save", "a/b/c/file", b"1")
        self.call("create_directory", "a/b/c")
        assert self.call("load", "a/b/c/file") == b"1", (
            "create_directory must keep the files of an existing folder"
        )

    @for_ability("create_directory")
    def test_create_directory_rejects_the_key_of_a_file_and_invalid_keys(self) -> None:
        self._needs_file_system()
        self.call("save", "a/file", b"1")
        self.fails(StorageKeyError, "create_directory", "a/file")
        for key in HOSTILE:
            self.fails(StorageKeyError, "create_directory", key)
        assert self.call("load", "a/file") == b"1"

    @for_ability("create_directory")
    def test_size_and_time_are_of_the_last_save(self) -> None:
        self._needs_file_system()
        modified = 0.0
        for data in (b"", b"12345", b"x" * 100_000, b"1"):
            self.call("save", "a/file", data)
            assert self.call("get_file_size", "a/file") == len(data)
            now = self.call("get_modified_time", "a/file")
            assert now >= modified, "a later save must not have an earlier time"
            modified = now
        assert abs(modified - time.time()) < 86_400, (
            f"the time must be in seconds since 1970-01-01 UTC, got {modified}"
        )

    @for_ability("create_directory")
    def test_size_and_time_of_a_missing_file_raise_not_found(self) -> None:
        self._needs_file_system()
        for method in ("get_file_size", "get_modified_time"):
            self.fails(StorageNotFound, method, "a/file")
            for key in HOSTILE:
                self.fails(StorageKeyError, method, key)

    def _needs_file_system(self) -> None:
        self.needs("create_directory", "get_file_size", "get_modified_time")

    def _list(self, prefix: str = "") -> list[Any]:
        listed = self.call("list_files", prefix) if prefix else self.call("list_files")
        assert not isinstance(listed, str), "list_files must return a sequence of keys, not one text"
        return list(listed)


async def _iterate_async(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
