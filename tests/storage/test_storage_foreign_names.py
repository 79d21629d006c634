"""Names of other programs that cannot be keys: the client and `fs` skip and count them, and log one warning."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.calls.backend import Backend
from llmcore.errors import StorageKeyError
from llmcore.hookspecs import Provider
from llmcore.storage import StorageClient
from llmcore.support.storage_keys import find_key_fault, parse
from llmcore_storage_fs.provider import FsStorage
from tests.broken_backends.storage_abilities import ListsForeignNames

ODD = ("../up", "/leading", "notes//double", "notes/./here", "control\x01", "n" * 256, "a" + "/a" * 64)


class NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return {}


class NoPages(ListsForeignNames):
    list_page = None  # type: ignore[assignment]


@contextmanager
def expect_one_warning(caplog: pytest.LogCaptureFixture, *words: str) -> Iterator[None]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "llmcore"):
        yield
    (record,) = caplog.records
    for each in words:
        assert each in record.getMessage()


@pytest.mark.parametrize("kind", [ListsForeignNames, NoPages])
def test_the_client_skips_keys_that_a_backend_must_not_list(
    kind: type[ListsForeignNames], caplog: pytest.LogCaptureFixture
) -> None:
    backend = kind()
    for name in ("a", "folder/", "notes/b", "notes/c", "z", *ODD):
        backend.plant(name, b"1")
    made = Provider(name="odd", create=lambda _: backend)
    storage = StorageClient(lambda: Backend("storage", made, NoOptions()))
    with expect_one_warning(caplog, "the storage contains 7 names that cannot be a key", "such as '../up'"):
        assert storage.list_files() == ["a", "notes/b", "notes/c", "z"]
        assert asyncio.run(storage.alist_files("notes/")) == ["notes/b", "notes/c"]
        assert storage.glob("**") == ["a", "notes/b", "notes/c", "z"]
        assert storage.glob("**", limit=3) == ["a", "notes/b", "notes/c"]
        for limit in (1, 2, 3, 100):
            seen: list[str] = []
            while page := storage.list_page("", limit, seen[-1] if seen else ""):
                seen += [info.key for info in page]
                if len(page) < limit:
                    break
            assert seen == ["a", "notes/b", "notes/c", "z"], f"pages of {limit}"


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_the_disk_counts_names_that_are_not_utf8(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = FsStorage(tmp_path)
    storage.save("a", b"1")
    storage.save("folder/b", b"1")
    for name in (b"latin-\xff", b"control\x01", b"folder/tab\t", b"con", b".llmcore-tmp-1"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"foreign")
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "below").touch()
    with expect_one_warning(caplog, f"{tmp_path} contains 5 names", "and are not listed"):
        assert storage.list_files() == ["a", "folder/b"]
        assert asyncio.run(storage.alist_files()) == ["a", "folder/b"]
        assert [info.key for info in storage.list_page()] == ["a", "folder/b"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have shorter paths")
def test_the_disk_does_not_list_keys_that_are_too_long_to_load(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    storage.save("a", b"1")
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(6):
        os.mkdir("n" * 200, dir_fd=folder)
        deeper = os.open("n" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    assert storage.list_files() == ["a"]
    assert [info.key for info in storage.list_page()] == ["a"]


def _names() -> Any:
    part = st.one_of(st.text(max_size=12), st.sampled_from(["", ".", "..", "con", "long" * 40, "plain-part"]))
    parts: st.SearchStrategy[Sequence[str]] = st.lists(part, min_size=1, max_size=70)
    return parts.map("/".join)


@given(_names())
def test_exactly_the_names_that_no_method_accepts_as_a_key_are_skipped(name: str) -> None:
    try:
        parse(name)
    except StorageKeyError:
        assert find_key_fault(name)
    else:
        assert find_key_fault(name) is None
