"""The storage client returns the same answers for sync and async backends and for each set of abilities."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.calls.backend import Backend
from llmcore.errors import (
    PluginError,
    StorageChanged,
    StorageError,
    StorageExists,
    StorageKeyError,
    StorageNotFound,
)
from llmcore.hookspecs import Provider
from llmcore.storage import StorageClient
from llmcore.storage.globs import compile_glob, get_prefix
from llmcore.types import FileInfo
from tests.broken_backends.storage import AsyncMemory, Memory
from tests.broken_backends.storage_abilities import AbleInBoth
from tests.broken_backends.storage_abilities_base import Able


class AsyncAble:
    """An asynchronous backend with every ability."""

    def __init__(self) -> None:
        self._inner = AbleInBoth()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("a"):
            return getattr(self._inner, name)
        raise AttributeError(name)


class NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return {}


def client(kind: type) -> StorageClient:
    backend = Backend("storage", Provider(name=kind.__name__.lower(), create=lambda _: kind()), NoOptions())
    return StorageClient(lambda: backend)


KINDS = (Memory, AsyncMemory, Able, AsyncAble, AbleInBoth)
ABLE = (Able, AsyncAble, AbleInBoth)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def storage(request: pytest.FixtureRequest) -> StorageClient:
    return client(request.param)


@dataclasses.dataclass
class Point:
    x: int
    y: int


def test_text_and_json_are_saved_and_loaded(storage: StorageClient) -> None:
    storage.save_text("a.txt", "Gr\xfc\xdfe")
    assert (storage.load("a.txt"), storage.load_text("a.txt")) == ("Gr\xfc\xdfe".encode(), "Gr\xfc\xdfe")
    value = {"list": [1, 2.5, None, True], "text": "\u6587"}
    storage.save_json("a.json", value)
    assert storage.load_json("a.json") == value
    storage.save_json("point.json", Point(1, 2))
    assert storage.load("point.json") == b'{"x":1,"y":2}'
    assert storage.load_json("point.json", Point) == Point(1, 2)
    storage.save_json("day.json", dt.date(2026, 11, 25))
    assert storage.load_json("day.json", dt.date) == dt.date(2026, 11, 25)


def test_a_file_that_is_not_text_or_json_is_an_error(storage: StorageClient) -> None:
    storage.save("raw", b"\xff\x00")
    storage.save_json("point", {"x": "one"})
    faults: list[tuple[Callable[[], object], str]] = [
        (lambda: storage.load_text("raw"), "is not UTF-8: byte 0xff at index 0"),
        (lambda: storage.load_json("raw"), "is not JSON"),
        (lambda: storage.load_json("point", Point), "does not match Point"),
        (lambda: storage.save_json("new", object()), "cannot be saved as JSON"),
        (lambda: storage.save_text("new", b"bytes"), "text must be a str, got bytes"),  # type: ignore[arg-type]
        (lambda: storage.save("new", 5), "data must be bytes or text, got"),  # type: ignore[arg-type]
        (lambda: storage.save_stream("new", b"bytes"), "pieces must be an iterable of bytes, got"),  # type: ignore[arg-type]
        (lambda: storage.save_stream("new", 5), "pieces must be an iterable of bytes, got"),  # type: ignore[arg-type]
        (lambda: list(storage.load_stream("raw", -1)), "start must be at least 0"),
        (lambda: storage.list_page(limit=0), "limit must be at least 1, got 0"),
    ]
    for call, message in faults:
        with pytest.raises(StorageError, match=message) as caught:
            call()
        assert caught.value.__context__ is None
    assert storage.list_files() == ["point", "raw"]


@pytest.mark.parametrize("kind", ABLE, ids=lambda kind: kind.__name__)
def test_the_infos_of_several_files_are_in_order_sync_and_async(kind: type) -> None:
    storage = client(kind)
    for key in ("a", "b", "c"):
        storage.save(key, key * 3)
    assert [info.key for info in storage.info(["c", "a"])] == ["c", "a"]
    assert asyncio.run(storage.ainfo(key for key in ("c", "a"))) == storage.info(("c", "a"))  # type: ignore[arg-type]
    with pytest.raises(StorageNotFound):
        asyncio.run(storage.ainfo(["a", "nothing"]))


def test_streams_copies_and_moves_work_with_every_backend(storage: StorageClient) -> None:
    pieces = [b"x" * 100_000, b"", b"y" * 7]
    for source in (pieces, iter(pieces), (piece for piece in pieces), io.BytesIO(b"".join(pieces))):
        storage.save_stream("a/file", source)
        assert b"".join(storage.load_stream("a/file")) == b"".join(pieces)
    assert b"".join(storage.load_stream("a/file", 99_999, 100_001)) == b"xy"
    storage.copy("a/file", "a/twin")
    storage.move("a/file", "b/file")
    storage.move("b/file", "b/file")
    assert storage.list_files() == ["a/twin", "b/file"]
    calls: list[Callable[[], object]] = [
        lambda: list(storage.load_stream("nothing")),
        lambda: storage.copy("nothing", "a"),
        lambda: storage.move("nothing", "a"),
    ]
    for call in calls:
        with pytest.raises(StorageNotFound):
            call()


def test_the_async_methods_do_the_same(storage: StorageClient) -> None:
    async def give_pieces() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two"):
            await asyncio.sleep(0)
            yield piece

    async def main() -> None:
        for source in (give_pieces(), [b"one ", b"two"], io.BytesIO(b"one two")):
            await storage.asave_stream("a/file.txt", source)
            assert b"".join([piece async for piece in storage.aload_stream("a/file.txt")]) == b"one two"
        await storage.acopy("a/file.txt", "a/twin.txt")
        await storage.amove("a/file.txt", "b/file.txt")
        assert await storage.aload_text("b/file.txt") == "one two"
        await storage.asave_text("c", "text")
        await storage.asave_json("d.json", [1])
        assert await storage.aload_json("d.json") == [1]
        assert await storage.aglob("**/*.txt") == ["a/twin.txt", "b/file.txt"]
        assert await storage.alist_files() == ["a/twin.txt", "b/file.txt", "c", "d.json"]
        with pytest.raises(StorageNotFound):
            [piece async for piece in storage.aload_stream("nothing")]

    asyncio.run(main())


class Own(Exception):
    pass


def test_an_exception_of_a_source_is_passed_on_unchanged(storage: StorageClient) -> None:
    def break_off() -> Iterator[bytes]:
        yield b"x"
        raise Own

    async def abroken() -> AsyncIterator[bytes]:
        yield b"x"
        raise Own

    storage.save("file", b"old")
    with pytest.raises(Own):
        storage.save_stream("file", break_off())
    for source in (break_off(), abroken()):
        with pytest.raises(Own):
            asyncio.run(storage.asave_stream("file", source))
    assert storage.load("file") == b"old"
    assert storage.list_files() == ["file"]


@pytest.mark.parametrize("kind", [Memory, Able, AsyncAble], ids=lambda kind: kind.__name__)
def test_a_cancelled_stream_saves_nothing(kind: type) -> None:
    storage = client(kind)
    storage.save("file", b"old")
    closed: list[str] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0.001)
        finally:
            closed.append("source")

    async def main() -> None:
        source = endless()
        task = asyncio.create_task(storage.asave_stream("file", source))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await source.aclose()  # type: ignore[attr-defined]
        assert await storage.aload("file") == b"old"

    asyncio.run(main())
    assert closed == ["source"]


KEYS = ("a", "a.txt", "a1/x.txt", "a1/b/y.txt", "a1/b/c/z.txt", "b/x.md", "b/y.txt", "bb.txt")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a", "a.txt", "bb.txt"]),
        ("**", list(KEYS)),
        ("*.txt", ["a.txt", "bb.txt"]),
        ("**/*.txt", ["a.txt", "a1/b/c/z.txt", "a1/b/y.txt", "a1/x.txt", "b/y.txt", "bb.txt"]),
        ("a1/**", ["a1/b/c/z.txt", "a1/b/y.txt", "a1/x.txt"]),
        ("a1/*/*.txt", ["a1/b/y.txt"]),
        ("?/?.*", ["b/x.md", "b/y.txt"]),
        ("b*", ["bb.txt"]),
        ("a", ["a"]),
        ("a1/", []),
        ("", []),
        ("[a]*", []),
        ("nothing/**", []),
    ],
)
def test_a_pattern_returns_the_keys_that_match(
    storage: StorageClient, pattern: str, expected: Sequence[str]
) -> None:
    for key in KEYS:
        storage.save(key, b"1")
    expected = sorted(expected)
    assert storage.glob(pattern) == expected
    paged: list[str] = []
    while page := storage.glob(pattern, limit=2, after=paged[-1] if paged else ""):
        assert len(page) <= 2
        paged += page
    assert paged == expected
    assert all(key.startswith(get_prefix(pattern)) for key in expected)
    assert [key for key in KEYS if compile_glob(pattern)(key)] == [key for key in KEYS if key in expected]


def test_a_pattern_requests_pages_that_grow() -> None:
    asked: list[int] = []

    class Large(Able):
        def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
            asked.append(limit)
            return super().list_page(prefix, limit, after)

    storage = client(Large)
    for number in range(20_000):
        storage.save(f"{number:05}", b"")
    assert storage.glob("*9999", limit=2) == ["09999", "19999"]
    assert asked == sorted(asked)
    assert len(asked) == 5, "1000, 2000, 4000, 8000, 16000"
    asked.clear()
    assert storage.glob("0000*", limit=3) == ["00000", "00001", "00002"]
    assert len(asked) == 1


@pytest.mark.parametrize("kind", ABLE, ids=lambda kind: kind.__name__)
def test_conditions_infos_pages_and_urls_come_from_the_backend(kind: type) -> None:
    storage = client(kind)
    etag = storage.save_if_absent("a.txt", "one")
    with pytest.raises(StorageExists):
        storage.save_if_absent("a.txt", "two")
    assert storage.load_with_etag("a.txt") == (b"one", etag)
    second = storage.save_if_match("a.txt", "two", etag)
    with pytest.raises(StorageChanged):
        storage.save_if_match("a.txt", "three", etag)
    info = storage.get_file_info("a.txt")
    assert (info.size_bytes, info.content_type, info.etag) == (3, "text/plain", second)
    assert [info.key for info in storage.list_page(limit=1)] == ["a.txt"]
    assert storage.sign_url("a.txt", 60).startswith("https://")

    async def main() -> None:
        third = await storage.asave_if_match("a.txt", "three", second)
        assert await storage.aload_with_etag("a.txt") == (b"three", third)
        await storage.asave_if_absent("b.txt", b"")
        assert [info.key for info in await storage.alist_page(after="a.txt")] == ["b.txt"]
        assert (await storage.aget_file_info("b.txt")).size_bytes == 0
        assert "PUT" in await storage.asign_url("a.txt", method="PUT")

    asyncio.run(main())


def test_an_ability_without_a_substitute_is_named() -> None:
    storage = client(Memory)
    storage.save("a", b"1")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: storage.save_if_absent("b", b""), "save if absent"),
        (lambda: storage.sign_url("a"), "sign url"),
        (lambda: storage.create_directory("b"), "create directory"),
        (lambda: storage.get_file_info("a"), "get file size"),
    ]
    for call, ability in calls:
        with pytest.raises(PluginError, match=f"`memory` cannot {ability}"):
            call()


@pytest.mark.parametrize("key", [None, 7, b"a", Path("a")])
def test_a_key_that_is_not_text_is_refused_by_every_method(storage: StorageClient, key: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.load_json(key),
        lambda: storage.save_stream(key, []),
        lambda: list(storage.load_stream(key)),
        lambda: storage.copy("a", key),
        lambda: storage.move(key, "a"),
    ]
    for call in calls:
        with pytest.raises(StorageKeyError, match="key must be text"):
            call()


def test_an_open_file_is_saved_and_read_on_a_disk(tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(bytes(range(256)) * 10_000)
    with llmcore.load({"storage": {"provider": "fs", "fs": {"root": str(tmp_path / "kept")}}}) as core:
        with (tmp_path / "in.bin").open("rb") as file:
            core.storage.save_stream("data/in.bin", file)
        assert b"".join(core.storage.load_stream("data/in.bin")) == (tmp_path / "in.bin").read_bytes()
        info = core.storage.get_file_info("data/in.bin")
        assert (info.size_bytes, info.content_type) == (2_560_000, "application/octet-stream")


def test_blocking_calls_do_not_import_asyncio(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys, llmcore\n"
        f"core = llmcore.load({{'storage': {{'provider': 'fs', 'fs': {{'root': {str(tmp_path)!r}}}}}}})\n"
        "core.storage.save_stream('a', [b'1'])\n"
        "assert b''.join(core.storage.load_stream('a')) == b'1'\n"
        "core.storage.save_json('b', [1])\n"
        "print('asyncio' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
