"""Streams need little memory for any file size and end cleanly if cancelled; pages cover many files."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.errors import StorageError, StorageKeyError
from llmcore.support import storage_arguments
from llmcore.support.storage_keys import find_part_fault
from llmcore_storage_fs import listing
from llmcore_storage_fs.provider import FsStorage

MEMORY = """
import asyncio, resource, sys
from llmcore_storage_fs.provider import FsStorage
storage, block = FsStorage(sys.argv[1]), bytes(1 << 20)
storage.save_stream("small", [block])
len(b"".join(storage.load_stream("small")))
COUNT = 300

async def given():
    for _ in range(COUNT):
        yield block

async def both_ways():
    await storage.asave_stream("async", given())
    assert [len(piece) async for piece in storage.aload_stream("async")] == [1 << 20] * COUNT

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
storage.save_stream("large", (block for _ in range(COUNT)))
storage.copy("large", "copy")
assert sum(map(len, storage.load_stream("copy"))) == COUNT << 20
asyncio.run(both_ways())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def list_names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_stream_of_300_megabytes_uses_a_few_megabytes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30_000  # kilobytes; asyncio is in it


def test_a_cancelled_stream_keeps_the_existing_file_and_ends_its_thread(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    storage.save("file", b"old")
    closed = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    async def cancel_reads() -> None:
        for pause in (0, 1, 5, 20):
            source = endless()
            task = asyncio.create_task(storage.asave_stream("file", source))
            for _ in range(pause):
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await source.aclose()  # type: ignore[attr-defined]  # it is a generator
            assert await storage.aload("file") == b"old"
            assert list_names(tmp_path) == ["file"], "the thread has cleared up before we go on"

    asyncio.run(cancel_reads())
    assert closed


def test_a_cancelled_reader_closes_the_file(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    storage.save("file", bytes(10 << 20))

    async def first() -> None:
        reader = storage.aload_stream("file")
        assert len(await anext(reader)) == 1 << 20
        task = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(first())
    held = Path("/proc/self/fd")
    if held.is_dir():
        links = [str(link.readlink()) for link in held.iterdir() if link.is_symlink()]
        assert str(tmp_path / "file") not in links


def test_a_file_too_large_for_the_memory_is_streamed(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(StorageError, match="too large"):
        storage.load("huge")
    reader = storage.load_stream("huge", start=(10 << 30) - 5)
    assert list(reader) == [bytes(5)]
    assert storage.get_file_info("huge").size_bytes == 10 << 30 > storage_arguments.MAX_FILE_BYTES


def test_the_etags_of_files_saved_one_after_another_all_differ(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    etags = set()
    for _ in range(
        300
    ):  # the system's own clock of files stands still meanwhile, and the file numbers come again
        storage.save("file", b"the same")
        etags.add(storage.get_file_info("file").etag)
    assert len(etags) == 300


def test_pages_cover_a_large_folder(tmp_path: Path) -> None:
    storage = FsStorage(tmp_path)
    for place in ("a", "a-b", "z"):
        (tmp_path / place).mkdir()
        for number in range(700):
            (tmp_path / place / f"{number:04}").write_bytes(b"1")
    found: list[str] = []
    while page := storage.list_page("", 256, found[-1] if found else ""):
        found += [info.key for info in page]
    assert found == storage.list_files()
    assert len(found) == 2100


@settings(max_examples=200, deadline=None)
@given(
    keys=st.sets(
        st.lists(st.sampled_from(["a", "a-b", "a.b", "ab", "b", "aa"]), min_size=1, max_size=3).map("/".join)
    ),
    after=st.text("ab-./", max_size=6),
    prefix=st.sampled_from(["", "a", "a/", "a/a", "ab/", "b"]),
    limit=st.integers(1, 12),
)
def test_a_page_equals_the_list_after_its_key(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], after: str, prefix: str, limit: int
) -> None:
    storage = FsStorage(tmp_path_factory.mktemp("pages"))
    for key in sorted(keys, key=len, reverse=True):
        with suppress(StorageKeyError):  # there is a folder of that name
            storage.save(key, b"1")
    everything = [key for key in storage.list_files() if key.startswith(prefix)]
    page = [info.key for info in storage.list_page(prefix, limit, after)]
    assert page == [key for key in everything if key > after][:limit]


def test_the_last_page_of_a_large_folder_checks_only_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, looked = FsStorage(tmp_path), 0
    for number in range(2000):
        (tmp_path / f"{number:04}").write_bytes(b"1")

    def count_look(part: str) -> str | None:
        nonlocal looked
        looked += 1
        return find_part_fault(part)

    monkeypatch.setattr(listing, "find_part_fault", count_look)
    for after in ("1989", "0009"):
        looked = 0
        assert len(storage.list_page("", 10, after)) == 10
        assert looked < 20
