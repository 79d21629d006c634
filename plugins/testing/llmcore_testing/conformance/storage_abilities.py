"""Tests of the optional abilities of a storage: file information, pages, copies, streams, signed URLs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from llmcore.errors import StorageError, StorageKeyError, StorageNotFound
from llmcore.types import FileInfo
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.large_values import are_equal
from llmcore_testing.conformance.storage_conditional_saves import ConditionalSaving

__all__ = ["HOSTILE", "StorageAbilities"]

HOSTILE = (
    "", ".", "..", "/", "/etc/passwd", "../outside", "a/../../outside", "a/../b", "./a", "a/./b", "a/.", "a/..",
    "a//b", "a/", "//host/share", "..\\outside", "a\\b", "C:/outside", "C:outside", "nul\0byte", "line\nbreak",
    "tab\tin/it", "delete\x7f", "lone\ud800surrogate",
)  # fmt: skip
_PAGED = (
    "Z", "a-b/x", "a.txt", "a/b-c", "a/b.txt", "a/b/a", "a/b/c", "ab", "b", "re", "report.txt", "reports/1", "reports/2",
    "z/1/2/3/4", "\u00e9", "\u6587/1", "\U0001f600",
)  # fmt: skip


class StorageAbilities(ConditionalSaving):
    """Tests the optional protocols of `llmcore.contracts.storage_abilities` that the backend implements.

    A subclass sets `lacks` to the abilities that its backend does not have. The names of the abilities are
    "create_directory", "get_file_info", "list_page", "copy", "load_stream", "save_if_absent" and "sign_url".
    """

    stream_bytes: ClassVar[int] = 20_000_000
    """The size in bytes of the large stream in the tests. Set a smaller size for a slow backend."""
    max_value_bytes: ClassVar[int | None] = None
    """The maximum size in bytes of a file of this backend. None means no maximum; the largest file of the tests then has 9 MB."""

    @for_ability("get_file_info")
    def test_file_info_is_of_the_last_save(self) -> None:
        self.needs("get_file_info")
        seen: list[str | None] = []
        for data in (b"", b"12345", b"54321", b"x" * 100_000):
            self.call("save", "a/file.txt", data)
            info = self.call("get_file_info", "a/file.txt")
            assert type(info) is FileInfo, f"get_file_info must return a FileInfo, got {type(info).__name__}"
            assert (info.key, info.size_bytes) == ("a/file.txt", len(data))
            assert abs(info.modified - time.time()) < 86_400, (
                "modified must be in seconds since 1970-01-01 UTC"
            )
            assert info.content_type in (None, "text/plain"), (
                "content_type of a .txt file must be text/plain or None"
            )
            assert info.etag not in seen or info.etag is None, "the ETag must change with the content"
            assert self.call("get_file_info", "a/file.txt").etag == info.etag, (
                "reading must not change the ETag"
            )
            seen.append(info.etag)

    @for_ability("get_file_info")
    def test_file_info_of_a_missing_file_raises_not_found(self) -> None:
        self.needs("get_file_info")
        self.call("save", "a/b/file", b"1")
        for key in ("nothing", "a/nothing", "a/b/file2"):
            self.fails(StorageNotFound, "get_file_info", key)
        for key in ("a/b", "a/b/file/below"):
            self.fails(StorageNotFound, "get_file_info", key)
        for key in HOSTILE:
            self.fails(StorageKeyError, "get_file_info", key)

    @for_ability("list_page")
    @pytest.mark.parametrize("limit", [1, 3, 1000])
    def test_the_pages_together_list_every_file_once(self, limit: int) -> None:
        self.needs("list_page")
        for key in reversed(_PAGED):
            self.call("save", key, key.encode())
        for prefix in ("", "a", "a/", "a/b", "re", "reports/", "z/1/2/", "x", "\u00e9"):
            expected = sorted(key for key in _PAGED if key.startswith(prefix))
            found: list[str] = []
            while page := list(self.call("list_page", prefix, limit, found[-1] if found else "")):
                assert len(page) <= limit, f"a page must have at most {limit} files, got {len(page)}"
                found += [info.key for info in page]
                assert len(found) <= len(expected), (
                    f"the pages of {prefix!r} must list each file once, got {found}"
                )
                if len(page) < limit:
                    break
            assert found == expected, f"the pages of {prefix!r} must list each file once, in order"

    @for_ability("list_page")
    def test_a_page_begins_after_any_text_and_has_sizes_and_times(self) -> None:
        self.needs("list_page")
        for key in _PAGED:
            self.call("save", key, key.encode())
        for after in ("", "A", "a", "a/", "a/b", "a/b/b", "a0", "reports/1", "reports/15", "z", "\uffff"):
            page = self.call("list_page", "", 1000, after)
            assert [info.key for info in page] == sorted(key for key in _PAGED if key > after), after
        for info in self.call("list_page"):
            assert type(info) is FileInfo
            assert info.size_bytes == len(info.key.encode())
            assert abs(info.modified - time.time()) < 86_400
            if info.etag is not None and self.caller.has("get_file_info"):
                assert info.etag == self.call("get_file_info", info.key).etag, (
                    "list_page and get_file_info must return the same information"
                )

    @for_ability("list_page")
    def test_pages_continue_while_files_are_saved_and_deleted(self) -> None:
        self.needs("list_page")
        for i in range(20):
            self.call("save", f"many/{i:02}", b"1")
        first = [info.key for info in self.call("list_page", "many/", 8, "")]
        self.call("delete", first[-1])
        self.call("delete", "many/10")
        self.call("save", "many/055", b"1")
        rest = [info.key for info in self.call("list_page", "many/", 1000, first[-1])]
        assert first == [f"many/{i:02}" for i in range(8)]
        assert rest == [f"many/{i:02}" for i in range(8, 20) if i != 10]

    @for_ability("copy")
    def test_a_copy_is_independent_of_its_source(self) -> None:
        self.needs("copy", "move")
        self.call("save", "a/file", b"first")
        self.call("save", "b/old", b"old and longer")
        for target in ("a/twin", "b/old", "new/folder/file"):
            assert self.call("copy", "a/file", target) is None, "copy returns nothing"
            assert self.call("load", target) == b"first"
        self.call("copy", "a/file", "a/file")
        self.call("save", "a/twin", b"second")
        assert self.call("load", "a/file") == b"first", "saving the copy must not change the source"
        self.call("delete", "a/file")
        assert self._list() == ["a/twin", "b/old", "new/folder/file"]

    @for_ability("copy")
    def test_a_moved_file_has_its_new_key_only(self) -> None:
        self.needs("copy", "move")
        self.call("save", "a/file", b"first")
        self.call("save", "b/old", b"old and longer")
        self.call("move", "a/file", "b/old")
        assert self.call("load", "b/old") == b"first"
        assert self.call("exists", "a/file") is False
        self.call("move", "b/old", "b/old")
        assert self.call("load", "b/old") == b"first", "moving a file to its own key must preserve it"
        self.call("move", "b/old", "new/folder/file")
        assert self._list() == ["new/folder/file"]

    @for_ability("copy")
    def test_copy_and_move_reject_missing_files_and_invalid_keys(self) -> None:
        self.needs("copy", "move")
        self.call("save", "a/file", b"1")
        for method in ("copy", "move"):
            self.fails(StorageNotFound, method, "nothing", "a/other")
            self.fails(StorageNotFound, method, "nothing", "a/file")
            self.fails(StorageNotFound, method, "nothing", "nothing")
            for key in HOSTILE:
                self.fails(StorageKeyError, method, "a/file", key)
                self.fails(StorageKeyError, method, key, "a/other")
        assert self._list() == ["a/file"]
        assert self.call("load", "a/file") == b"1"

    @for_ability("load_stream")
    def test_streams_save_and_load_every_byte(self) -> None:
        self.needs("load_stream", "save_stream")
        for pieces in ([], [b""], [b"1"], [b"", b"a", b"", b"bc" * 1000, b"\0"], [b"x" * 100_000] * 7):
            assert self.call("save_stream", "a/file", self._make_source(pieces)) is None, (
                "save_stream returns nothing"
            )
            assert are_equal(self.call("load", "a/file"), b"".join(pieces)), (
                "save_stream must save every byte once"
            )
            loaded = self.collect("load_stream", "a/file")
            assert are_equal(b"".join(loaded), b"".join(pieces)), "load_stream must return the saved bytes"
        assert self._list() == ["a/file"]

    @for_ability("load_stream")
    def test_a_large_file_is_loaded_in_pieces_of_at_most_16_mib(self) -> None:
        self.needs("load_stream", "save_stream")
        block = bytes(range(256)) * 4000
        count = max(1, min(self.stream_bytes, self.max_value_bytes or self.stream_bytes) // len(block))
        self.call("save_stream", "large/file", self._make_source([block] * count))
        loaded = self.collect("load_stream", "large/file")
        assert sum(map(len, loaded)) == len(block) * count
        assert all(type(piece) is bytes and 0 < len(piece) <= 1 << 24 for piece in loaded), (
            "load_stream must yield bytes of at most 16 MiB"
        )
        assert are_equal(b"".join(loaded), block * count), "load_stream must return the saved bytes"

    @for_ability("load_stream")
    def test_load_stream_returns_the_requested_range(self) -> None:
        self.needs("load_stream", "save_stream")
        data = bytes(range(256)) * 1000
        self.call("save", "a/file", data)
        for start, stop in ((0, None), (0, 0), (0, 1), (5, 10), (100, None), (255_999, None), (256_000, None),
                            (255_000, 300_000), (300_000, None), (300_000, 300_001), (10, 5), (7, 200_000)):  # fmt: skip
            part = b"".join(self.collect("load_stream", "a/file", start, stop))
            assert are_equal(part, data[start:stop]), (
                f"load_stream must return the bytes from {start} to {stop}"
            )
        for start, stop in ((-1, None), (-5, -1), (-300_000, None), (0, -1), (-1, 0), (-1, 5)):
            self.stream_fails(StorageError, "load_stream", "a/file", start, stop)
        self.call("save", "a/file", b"")
        for start, stop in ((0, None), (0, 0), (0, 5), (1, None), (1, 5)):
            part = b"".join(self.collect("load_stream", "a/file", start, stop))
            assert part == b"", f"the bytes of an empty file from {start} to {stop} must be empty"

    @for_ability("load_stream")
    def test_a_source_that_raises_leaves_the_old_file(self) -> None:
        self.needs("load_stream", "save_stream")
        self.call("save", "a/file", b"old")
        for error in (OSError("the application's own"), RuntimeError("no"), StorageNotFound("theirs")):
            for key in ("a/file", "a/new"):
                caught = self.fails(
                    type(error), "save_stream", key, self._make_source([b"x" * 100_000], error)
                )
                assert caught is error or str(caught) == str(error), (
                    "save_stream must raise the exception of its source"
                )
        self.fails(StorageError, "save_stream", "a/file", self._make_source(["a text"]))  # type: ignore[list-item]
        assert self.call("load", "a/file") == b"old"
        assert self._list() == ["a/file"], "save_stream must not create a file if the source raises"

    @for_ability("load_stream")
    def test_streams_reject_missing_files_and_invalid_keys(self) -> None:
        self.needs("load_stream", "save_stream")
        self.call("save", "a/b", b"1")
        self.stream_fails(StorageNotFound, "load_stream", "nothing")
        self.stream_fails(StorageNotFound, "load_stream", "nothing", 5, 6)
        for key in HOSTILE:
            self.stream_fails(StorageKeyError, "load_stream", key)
            self.fails(StorageKeyError, "save_stream", key, self._make_source([b"hostile"]))
        assert self._list() == ["a/b"]

    @for_ability("load_stream")
    def test_a_reader_can_stop_early_and_reads_one_version(self) -> None:
        self.needs("load_stream", "save_stream")
        size = min(3_000_000, self.max_value_bytes or 3_000_000)
        old, new = (bytes([letter]) * size for letter in b"on")
        self.call("save", "a/file", old)
        assert self.collect("load_stream", "a/file", limit=1)[0][:1] == b"o"
        reader = self.caller.pieces("load_stream", "a/file")
        seen = [next(reader)]
        self.call("save", "a/file", new)
        seen += reader
        assert set(b"".join(seen)) == {ord("o")}, "all pieces must belong to the version that was first read"
        assert len(b"".join(seen)) == len(old)
        assert b"".join(self.collect("load_stream", "a/file")) == new

    @for_ability("sign_url")
    def test_a_signed_address_is_for_one_file_and_one_method(self) -> None:
        self.needs("sign_url")
        self.call("save", "a/file", b"1")
        get, put, other = (
            self.call("sign_url", *args) for args in (("a/file",), ("a/file", 60.0, "PUT"), ("a/other", 60.0))
        )
        assert all(type(url) is str and url.startswith("http") for url in (get, put, other))
        assert len({get, put, other}) == 3
        for key in HOSTILE:
            self.fails(StorageKeyError, "sign_url", key)

    def _make_source(
        self, pieces: Sequence[bytes], error: Exception | None = None
    ) -> Iterable[bytes] | AsyncIterator[bytes]:
        return _yield(pieces, error) if self.caller.variant == "sync" else _ayield(pieces, error)

    def _list(self) -> list[Any]:
        return list(self.call("list_files"))


def _yield(pieces: Sequence[bytes], error: Exception | None) -> Iterator[bytes]:
    yield from pieces
    if error is not None:
        raise error


async def _ayield(pieces: Sequence[bytes], error: Exception | None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if error is not None:
        raise error
