"""Tests of a storage with many files, large files and names outside of ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from llmcore.errors import StorageError
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.caller import Script
from llmcore_testing.conformance.large_values import are_equal
from llmcore_testing.conformance.storage_abilities import StorageAbilities

__all__ = ["NAMES", "VolumeTests"]

NAMES: Final = (
    "gr\u00f6\u00dfe.txt", "\u6587\u4ef6/\u30d5\u30a1\u30a4\u30eb\uff081\uff09.pdf", "emoji \U0001f600.bin", "a+b c%20d&e=f.txt", "50% #1.txt",
    "\uff21", "\U0001f600",
)  # fmt: skip
"""The last two names are in the order of their code points. A backend that sorts by UTF-16 swaps them."""
_TEXT: Final = "\u00e4\u20ac\U0001f600".encode()
_WRITERS: Final = 8
_LARGE_BYTES: Final = 9_000_000
"""A size above 8 MiB, because many clients upload files above 8 MiB in several parts."""


class VolumeTests(StorageAbilities):
    """Tests lists with several pages, files up to the backend's maximum size, and unusual names."""

    file_count: ClassVar[int] = 1500
    """The number of files to list. Most servers list at most 1,000 files per page."""

    def test_each_of_many_files_is_listed_once(self) -> None:
        keys = self._save_many()
        listed = list(self.call("list_files"))
        assert len(listed) == len(keys), f"{len(keys)} files were saved, list_files returned {len(listed)}"
        assert are_equal(listed, sorted(keys)), "list_files must return each key once, sorted by code point"
        for prefix in ("many/3/", "many/3/1", "many/3/\u00e9", "many/6/", "other/"):
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert are_equal(list(self.call("list_files", prefix)), expected), (
                f"list_files({prefix!r}) must return all keys with this prefix"
            )

        if self.caller.has("list_page"):
            self._check_pages(keys)

    def test_a_file_of_the_largest_size_is_stored(self) -> None:
        size = self.max_value_bytes or _LARGE_BYTES
        data = (bytes(range(251)) * (size // 251 + 1))[
            :size
        ]  # the period 251 is not a power of two, so the test detects parts in the wrong order
        self.call("save", "large/file", b"small")
        self.call("save", "large/file", data)
        loaded = self.call("load", "large/file")
        assert len(loaded) == size, f"{size} bytes were saved, {len(loaded)} came back"
        assert are_equal(loaded, data), "load must return the saved bytes"
        if self.max_value_bytes is not None:
            error = self.fails(StorageError, "save", "large/file", data + b"1")
            assert not self.foreign(error), (
                "the error for a file that is too large must not chain foreign exceptions"
            )
            assert are_equal(self.call("load", "large/file"), data), (
                "a file that is too large must leave the old one unchanged"
            )
        assert list(self.call("list_files")) == ["large/file"], "a large file must be one file"

    def test_names_and_sizes_beyond_ascii_are_exact(self) -> None:
        for name in NAMES:
            self.call("save", name, _TEXT)
            assert self.call("load", name) == _TEXT, f"load({name!a}) must return the saved bytes"
            assert self.call("exists", name) is True, f"exists({name!a}) must be True"
        assert list(self.call("list_files")) == sorted(NAMES), (
            "list_files must return each key once, sorted by code point"
        )
        has = self.caller.has
        for name in NAMES:
            if has("get_file_size"):
                assert self.call("get_file_size", name) == len(_TEXT), "a size must be in bytes"
            if has("get_file_info"):
                info = self.call("get_file_info", name)
                assert (info.key, info.size_bytes) == (name, len(_TEXT)), (
                    "a size must be in bytes, and a key unchanged"
                )
            if has("load_stream"):
                loaded = b"".join(self.collect("load_stream", name, 1, 5))
                assert loaded == _TEXT[1:5], f"load_stream({name!a}, 1, 5) must count bytes"
        if has("list_page"):
            page = self.call("list_page")
            assert [(info.key, info.size_bytes) for info in page] == [
                (name, len(_TEXT)) for name in sorted(NAMES)
            ], "list_page must return each key unchanged, sorted by code point, with its size in bytes"

    @for_ability("copy")
    def test_names_beyond_ascii_are_copied_and_moved(self) -> None:
        self.needs("copy", "move")
        for name in NAMES:
            self.call("save", name, _TEXT)
            self.call("copy", name, f"copies/{name}")
            self.call("move", name, f"moved/{name}")
        expected = sorted(f"{folder}/{name}" for folder in ("copies", "moved") for name in NAMES)
        assert list(self.call("list_files")) == expected, "copy and move must use the unchanged keys"
        assert {self.call("load", key) for key in expected} == {_TEXT}

    def _check_pages(self, keys: Sequence[str]) -> None:
        __tracebackhide__ = True
        for limit in (None, 700, len(keys), 2 * len(keys)):
            size = 1000 if limit is None else limit
            found: list[str] = []
            while True:
                after = found[-1] if found else ""
                options = {"after": after} if limit is None else {"limit": limit, "after": after}
                page = self.call("list_page", "", **options)
                found += [info.key for info in page]
                assert len(page) == min(size, len(keys) - len(found) + len(page)), (
                    f"a page of {size} after {len(found) - len(page)} of {len(keys)} files has {len(page)} files: "
                    "only the last page may be shorter"
                )
                if len(page) < size or len(found) >= len(keys):
                    break
            assert are_equal(found, sorted(keys)), (
                f"the pages of {size} must list each file once, sorted by code point"
            )

    def _save_many(self) -> Sequence[str]:
        """Save `file_count` small files, several at the same time. Return their keys."""
        keys = [f"many/{i % 7}/{i:04}" for i in range(self.file_count - 3)]
        keys += ["many/3/\u00e9", "many/\uff21", "many/\U0001f600"]
        self.race([self._save_some(keys[first::_WRITERS]) for first in range(_WRITERS)])
        return keys

    @staticmethod
    def _save_some(keys: Sequence[str]) -> Script:
        for key in keys:
            yield "save", key, key.encode()
