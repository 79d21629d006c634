"""What a storage must do that offers more than the least: facts, pages, copies, streams."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from llmcore.errors import StorageError, StorageKeyError, StorageNotFound
from llmcore.types import FileInfo
from llmcore_testing.conformance.abilities import of
from llmcore_testing.conformance.storage_writing import ConditionalSaving

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
    """The optional protocols of `llmcore.contracts` for storages, each tested where the backend has its methods.

    What `lacks` may name: "create_directory", "get_file_info", "list_page", "copy", "load_stream", "save_if_absent",
    "sign_url".
    """

    stream_bytes: ClassVar[int] = 20_000_000
    """How much one stream carries; a slow backend may do with less."""

    @of("get_file_info")
    def test_the_facts_of_a_file_are_those_of_the_last_save(self) -> None:
        self.needs("get_file_info")
        seen: list[str | None] = []
        for data in (b"", b"12345", b"54321", b"x" * 100_000):
            self.call("save", "a/file.txt", data)
            info = self.call("get_file_info", "a/file.txt")
            assert type(info) is FileInfo, f"get_file_info returns a FileInfo, got {type(info).__name__}"
            assert (info.key, info.size_bytes) == ("a/file.txt", len(data))
            assert abs(info.modified - time.time()) < 86_400, "modified are seconds since 1970-01-01 UTC"
            assert info.content_type in (None, "text/plain"), "the ending says that it is a plain text"
            assert info.etag not in seen or info.etag is None, "other bytes have another etag"
            assert self.call("get_file_info", "a/file.txt").etag == info.etag, "reading changes no etag"
            seen.append(info.etag)

    @of("get_file_info")
    def test_what_was_never_saved_has_no_facts(self) -> None:
        self.needs("get_file_info")
        self.call("save", "a/b/file", b"1")
        for key in ("nothing", "a/nothing", "a/b/file2"):
            self.fails(StorageNotFound, "get_file_info", key)
        for key in ("a/b", "a/b/file/below"):
            self.fails(StorageNotFound, "get_file_info", key)
        for key in HOSTILE:
            self.fails(StorageKeyError, "get_file_info", key)

    @of("list_page")
    @pytest.mark.parametrize("limit", [1, 3, 1000])
    def test_the_pages_together_are_the_list(self, limit: int) -> None:
        self.needs("list_page")
        for key in reversed(_PAGED):
            self.call("save", key, key.encode())
        for prefix in ("", "a", "a/", "a/b", "re", "reports/", "z/1/2/", "x", "\u00e9"):
            expected = sorted(key for key in _PAGED if key.startswith(prefix))
            found: list[str] = []
            while page := list(self.call("list_page", prefix, limit, found[-1] if found else "")):
                assert len(page) <= limit, f"a page of {limit} has {len(page)} files"
                found += [info.key for info in page]
                assert len(found) <= len(expected), f"the pages of {prefix!r} go on: {found}"
                if len(page) < limit:
                    break
            assert found == expected, f"the pages of {prefix!r} are its files, each once, sorted"

    @of("list_page")
    def test_a_page_begins_after_any_text_and_tells_size_and_time(self) -> None:
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
                assert info.etag == self.call("get_file_info", info.key).etag, "both are the file's etag"

    @of("list_page")
    def test_pages_go_on_where_files_come_and_go(self) -> None:
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

    @of("copy")
    def test_a_copy_is_a_file_of_its_own(self) -> None:
        self.needs("copy", "move")
        self.call("save", "a/file", b"first")
        self.call("save", "b/old", b"old and longer")
        for target in ("a/twin", "b/old", "new/folder/file"):
            assert self.call("copy", "a/file", target) is None, "copy returns nothing"
            assert self.call("load", target) == b"first"
        self.call("copy", "a/file", "a/file")
        self.call("save", "a/twin", b"second")
        assert self.call("load", "a/file") == b"first", "the copy is another file"
        self.call("delete", "a/file")
        assert self._listing() == ["a/twin", "b/old", "new/folder/file"]

    @of("copy")
    def test_a_moved_file_is_under_its_new_key_alone(self) -> None:
        self.needs("copy", "move")
        self.call("save", "a/file", b"first")
        self.call("save", "b/old", b"old and longer")
        self.call("move", "a/file", "b/old")
        assert self.call("load", "b/old") == b"first"
        assert self.call("exists", "a/file") is False
        self.call("move", "b/old", "b/old")
        assert self.call("load", "b/old") == b"first", "moved onto itself it stays"
        self.call("move", "b/old", "new/folder/file")
        assert self._listing() == ["new/folder/file"]

    @of("copy")
    def test_what_is_not_there_or_has_no_good_key_is_neither_copied_nor_moved(self) -> None:
        self.needs("copy", "move")
        self.call("save", "a/file", b"1")
        for method in ("copy", "move"):
            self.fails(StorageNotFound, method, "nothing", "a/other")
            self.fails(StorageNotFound, method, "nothing", "a/file")
            self.fails(StorageNotFound, method, "nothing", "nothing")
            for key in HOSTILE:
                self.fails(StorageKeyError, method, "a/file", key)
                self.fails(StorageKeyError, method, key, "a/other")
        assert self._listing() == ["a/file"]
        assert self.call("load", "a/file") == b"1"

    @of("load_stream")
    def test_a_stream_carries_every_byte_both_ways(self) -> None:
        self.needs("load_stream", "save_stream")
        for pieces in ([], [b""], [b"1"], [b"", b"a", b"", b"bc" * 1000, b"\0"], [b"x" * 100_000] * 7):
            assert self.call("save_stream", "a/file", self._source(pieces)) is None, (
                "save_stream returns nothing"
            )
            assert self.call("load", "a/file") == b"".join(pieces)
            loaded = self.collect("load_stream", "a/file")
            assert b"".join(loaded) == b"".join(pieces)
        assert self._listing() == ["a/file"]

    @of("load_stream")
    def test_a_large_stream_comes_in_pieces(self) -> None:
        self.needs("load_stream", "save_stream")
        block = bytes(range(256)) * 4000
        count = max(1, self.stream_bytes // len(block))
        self.call("save_stream", "large/file", self._source([block] * count))
        loaded = self.collect("load_stream", "large/file")
        assert sum(map(len, loaded)) == len(block) * count
        assert all(type(piece) is bytes and 0 < len(piece) <= 1 << 24 for piece in loaded), (
            "pieces of 16 MiB at most"
        )
        assert b"".join(loaded) == block * count

    @of("load_stream")
    def test_a_part_of_a_file_is_its_slice(self) -> None:
        self.needs("load_stream", "save_stream")
        data = bytes(range(256)) * 1000
        self.call("save", "a/file", data)
        for start, stop in ((0, None), (0, 0), (0, 1), (5, 10), (100, None), (255_999, None), (256_000, None),
                            (255_000, 300_000), (300_000, None), (300_000, 300_001), (10, 5), (7, 200_000)):  # fmt: skip
            part = b"".join(self.collect("load_stream", "a/file", start, stop))
            assert part == data[start:stop], f"bytes {start} to {stop}"
        for start, stop in ((-1, None), (0, -1)):
            self.stream_fails(StorageError, "load_stream", "a/file", start, stop)

    @of("load_stream")
    def test_a_stream_that_breaks_off_leaves_what_was_there(self) -> None:
        self.needs("load_stream", "save_stream")
        self.call("save", "a/file", b"old")
        for error in (OSError("the application's own"), RuntimeError("no"), StorageNotFound("theirs")):
            for key in ("a/file", "a/new"):
                caught = self.fails(type(error), "save_stream", key, self._source([b"x" * 100_000], error))
                assert caught is error or str(caught) == str(error), "what the pieces raise is let through"
        self.fails(StorageError, "save_stream", "a/file", self._source(["a text"]))  # type: ignore[list-item]
        assert self.call("load", "a/file") == b"old"
        assert self._listing() == ["a/file"], "a stream that broke off is no file"

    @of("load_stream")
    def test_what_is_not_there_or_has_no_good_key_is_not_streamed(self) -> None:
        self.needs("load_stream", "save_stream")
        self.call("save", "a/b", b"1")
        self.stream_fails(StorageNotFound, "load_stream", "nothing")
        self.stream_fails(StorageNotFound, "load_stream", "nothing", 5, 6)
        for key in HOSTILE:
            self.stream_fails(StorageKeyError, "load_stream", key)
            self.fails(StorageKeyError, "save_stream", key, self._source([b"hostile"]))
        assert self._listing() == ["a/b"]

    @of("load_stream")
    def test_a_reader_may_stop_early_and_reads_one_version(self) -> None:
        self.needs("load_stream", "save_stream")
        old, new = (bytes([letter]) * 3_000_000 for letter in b"on")
        self.call("save", "a/file", old)
        assert self.collect("load_stream", "a/file", limit=1)[0][:1] == b"o"
        reader = self.caller.pieces("load_stream", "a/file")
        seen = [next(reader)]
        self.call("save", "a/file", new)
        seen += reader
        assert set(b"".join(seen)) == {ord("o")}, "all pieces are of the version whose reading had begun"
        assert len(b"".join(seen)) == len(old)
        assert b"".join(self.collect("load_stream", "a/file")) == new

    @of("sign_url")
    def test_an_address_is_for_one_file_and_one_method(self) -> None:
        self.needs("sign_url")
        self.call("save", "a/file", b"1")
        get, put, other = (
            self.call("sign_url", *args) for args in (("a/file",), ("a/file", 60.0, "PUT"), ("a/other", 60.0))
        )
        assert all(type(url) is str and url.startswith("http") for url in (get, put, other))
        assert len({get, put, other}) == 3
        for key in HOSTILE:
            self.fails(StorageKeyError, "sign_url", key)

    def _source(
        self, pieces: Sequence[bytes], error: Exception | None = None
    ) -> Iterable[bytes] | AsyncIterator[bytes]:
        return _given(pieces, error) if self.caller.colour == "sync" else _agiven(pieces, error)

    def _listing(self) -> list[Any]:
        return list(self.call("list_files"))


def _given(pieces: Sequence[bytes], error: Exception | None) -> Iterator[bytes]:
    yield from pieces
    if error is not None:
        raise error


async def _agiven(pieces: Sequence[bytes], error: Exception | None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if error is not None:
        raise error
