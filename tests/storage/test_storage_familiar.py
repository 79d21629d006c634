"""The storage client is compatible with existing code: return values, patterns, and `except FileNotFoundError`."""

from __future__ import annotations

import asyncio
import copy
import errno
import inspect
import pickle  # noqa: TID251 - errors travel between processes
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.atomic_write import write_atomically
from llmcore.errors import LLMCoreError, StorageError, StorageKeyError, StorageNotFound
from llmcore.storage import StorageClient
from tests.broken_backends.storage import Memory
from tests.broken_backends.storage_abilities import AbleInBoth
from tests.kits.cli import CommandLine
from tests.storage.test_storage_client import client

KEYS = [
    "a.txt",
    "b.json",
    "reports.txt",
    "reports/a.txt",
    "reports/b.json",
    "reports/deep/c.txt",
    "reports2/d.txt",
]


@pytest.fixture(params=[Memory, AbleInBoth, "fs"], ids=lambda kind: getattr(kind, "__name__", kind))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageClient]:
    if request.param != "fs":
        yield client(request.param)
        return
    with llmcore.load({"storage": {"provider": "fs", "fs": {"root": str(tmp_path / "data")}}}) as core:
        yield core.storage


def test_a_successful_save_returns_true(storage: StorageClient) -> None:
    assert storage.save("a.txt", b"1") is True
    assert asyncio.run(storage.asave("a.txt", b"2")) is True
    assert storage.load("a.txt") == b"2"


def test_create_directory_returns_true_also_if_the_folder_exists(tmp_path: Path) -> None:
    with llmcore.load({"storage": {"provider": "fs", "fs": {"root": str(tmp_path)}}}) as core:
        assert core.storage.create_directory("a/b") is True
        assert asyncio.run(core.storage.acreate_directory("a/b")) is True
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("reports", "*.txt"), ["reports.txt", "reports/a.txt"]),
        (("reports/", "*.txt"), ["reports/a.txt"]),
        (("reports/", "*"), ["reports/a.txt", "reports/b.json"]),
        (("reports/", "**/*.txt"), ["reports/a.txt", "reports/deep/c.txt"]),
        (("reports", "deep/*"), ["reports/deep/c.txt"]),
        (("", "*.txt"), ["a.txt", "reports.txt"]),
        (("", "?.json"), ["b.json"]),
        (("reports/", None), ["reports/a.txt", "reports/b.json", "reports/deep/c.txt"]),
        (("nothing", "*"), []),
    ],
)
def test_a_pattern_matches_the_rest_of_the_key_after_the_prefix(
    storage: StorageClient, arguments: tuple[str, str | None], found: list[str]
) -> None:
    for key in KEYS:
        storage.save(key, b"")
    assert storage.list_files(*arguments) == found
    assert asyncio.run(storage.alist_files(*arguments)) == found
    prefix, pattern = arguments
    assert storage.list_files(prefix=prefix, pattern=pattern) == found
    assert set(found) <= set(storage.list_files(prefix))


def test_a_pattern_that_is_not_text_is_refused(storage: StorageClient) -> None:
    wrong: Any = 5
    with pytest.raises(StorageError, match="pattern must be text, got int"):
        storage.list_files("", wrong)


def test_a_missing_file_is_a_file_not_found_error(storage: StorageClient) -> None:
    for call in (
        lambda: storage.load("nothing"),
        lambda: asyncio.run(storage.aload("nothing")),
        lambda: storage.load_text("nothing"),
        lambda: list(storage.load_stream("nothing")),
        lambda: storage.copy("nothing", "else"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            call()
        assert isinstance(caught.value, StorageNotFound)
        assert caught.value.errno == errno.ENOENT
        assert "nothing is stored" in str(caught.value)


def test_the_error_survives_pickle_and_copy() -> None:
    error = StorageNotFound("nothing is stored under 'a'", where="a", fix="list_files()")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - ours
        assert type(again) is StorageNotFound
        assert (str(again), again.where, again.fix) == (str(error), "a", "list_files()")


def _raise_not_found() -> Iterator[bytes]:
    yield b"begun"
    raise StorageNotFound("the source's own")


async def _anot_found() -> AsyncIterator[bytes]:
    yield b"begun"
    raise StorageNotFound("the source's own")


def test_a_missing_file_is_never_mistaken_for_an_error_of_the_system(storage: StorageClient) -> None:
    storage.save("file", b"before")
    calls: list[Callable[[], object]] = [
        lambda: storage.save_stream("file", _raise_not_found()),
        lambda: asyncio.run(storage.asave_stream("file", _anot_found())),
        lambda: write_atomically(Path("out.bin"), _raise_not_found()),
    ]
    for call in calls:
        with pytest.raises(LLMCoreError, match="the source's own") as caught:
            call()
        assert type(caught.value) is StorageNotFound
    assert storage.load("file") == b"before"
    assert not Path("out.bin").exists()


def test_an_invalid_key_is_not_a_file_not_found_error(storage: StorageClient) -> None:
    wrong: Any = 5
    with pytest.raises(StorageKeyError) as caught:
        storage.load(wrong)
    assert not isinstance(caught.value, OSError)


def test_the_command_line_names_missing_files(tmp_path: Path) -> None:
    done = CommandLine(tmp_path)("store", "get", "nothing", "-o", "out.bin")
    assert "error[LC802]: nothing is stored under 'nothing'" in done.stderr
    assert (done.returncode, (tmp_path / "out.bin").exists()) == (1, False)


def test_the_signatures_are_those_of_existing_code() -> None:
    for name in ("list_files", "alist_files"):
        parameters = inspect.signature(getattr(StorageClient, name)).parameters
        assert [(each.name, each.default) for each in parameters.values()][1:] == [
            ("prefix", ""),
            ("pattern", None),
        ]
