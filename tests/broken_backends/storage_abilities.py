"""Storages with every ability, good and broken on purpose; test_conformance_storage.py runs this file."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import pytest

from llmcore.errors import StorageChanged, StorageError, StorageExists, StorageNotFound
from llmcore.support.foreign_names import Skipped
from llmcore.support.storage_keys import content_type, parse
from llmcore.types import FileInfo
from llmcore_testing.conformance import StorageConformance

PIECE = 1 << 20


class Able:
    """Correct, with every ability."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, float]] = {}
        self.lock = threading.RLock()

    def save(self, key: str, data: bytes) -> None:
        parse(key)
        self.files[key] = (bytes(data), time.time())

    def load(self, key: str) -> bytes:
        return self.find_file(key)[0]

    def find_file(self, key: str) -> tuple[bytes, float]:
        parse(key)
        if (file := self.files.get(key)) is None:
            raise StorageNotFound("nothing is stored under the key")
        return file

    def exists(self, key: str) -> bool:
        parse(key)
        return key in self.files

    def delete(self, key: str) -> bool:
        parse(key)
        with self.lock:
            return self.files.pop(key, None) is not None

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key in list(self.files) if key.startswith(prefix))

    def etag(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def get_file_info(self, key: str) -> FileInfo:
        data, modified = self.find_file(key)
        return FileInfo(
            key=key,
            size_bytes=len(data),
            modified=modified,
            content_type=content_type(key),
            etag=self.etag(data),
        )

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [self.get_file_info(key) for key in self.list_files(prefix) if key > after][:limit]

    def copy(self, source: str, target: str) -> None:
        self.save(target, self.load(source))

    def move(self, source: str, target: str) -> None:
        with self.lock:
            self.copy(source, target)
            if source != target:
                self.delete(source)

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if start < 0 or (stop is not None and stop < 0):
            raise StorageError("no position in a file")
        data = self.load(key)[start:stop]
        for at in range(0, len(data), PIECE):
            yield data[at : at + PIECE]

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        parse(key)
        self.save(key, b"".join(map(self.piece, pieces)))

    def piece(self, piece: bytes) -> bytes:
        if not isinstance(piece, bytes):
            raise StorageError("a piece is bytes")
        return piece

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.load(key)
        return data, self.etag(data)

    def save_if_absent(self, key: str, data: bytes) -> str:
        with self.lock:
            if self.exists(key):
                raise StorageExists("something is stored")
            self.save(key, data)
        return self.etag(data)

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        with self.lock:
            if not self.exists(key) or self.etag(self.load(key)) != etag:
                raise StorageChanged("another is stored")
            self.save(key, data)
        return self.etag(data)

    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        parse(key)
        return f"https://example.org/{key}?{method}&{expires_s}"


class AbleInBoth(Able):
    """Correct, sync and async, with every ability."""

    async def asave(self, key: str, data: bytes) -> None:
        self.save(key, data)

    async def aload(self, key: str) -> bytes:
        return self.load(key)

    async def aexists(self, key: str) -> bool:
        return self.exists(key)

    async def adelete(self, key: str) -> bool:
        return self.delete(key)

    async def alist_files(self, prefix: str = "") -> Sequence[str]:
        return self.list_files(prefix)

    async def aget_file_info(self, key: str) -> FileInfo:
        return self.get_file_info(key)

    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return self.list_page(prefix, limit, after)

    async def acopy(self, source: str, target: str) -> None:
        self.copy(source, target)

    async def amove(self, source: str, target: str) -> None:
        self.move(source, target)

    async def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        for piece in self.load_stream(key, start, stop):
            yield piece

    async def asave_stream(self, key: str, pieces: AsyncIterable[bytes]) -> None:
        parse(key)
        self.save(key, b"".join([self.piece(piece) async for piece in pieces]))

    async def aload_with_etag(self, key: str) -> tuple[bytes, str]:
        return self.load_with_etag(key)

    async def asave_if_absent(self, key: str, data: bytes) -> str:
        return self.save_if_absent(key, data)

    async def asave_if_match(self, key: str, data: bytes, etag: str) -> str:
        return self.save_if_match(key, data, etag)

    async def asign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        return self.sign_url(key, expires_s, method)


class ListsForeignNames(Able):
    """Lists foreign files under any name."""

    def plant(self, name: str, data: bytes) -> bool:
        self.files[name] = (data, time.time())
        return True

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key in list(self.files) if key.startswith(prefix))

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        find_file = [(key, *self.files[key]) for key in self.list_files(prefix) if key > after][:limit]
        return [
            FileInfo(key=key, size_bytes=len(data), modified=modified, etag=self.etag(data))
            for key, data, modified in find_file
        ]


class SkipsForeignNames(ListsForeignNames):
    """Correct: it skips what cannot be a key."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        skipped = Skipped()
        return [key for key in super().list_files(prefix) if skipped.check(key)]


class IsRefusedForOneName(ListsForeignNames):
    """Gives up a whole list for one name, as an SDK that parses all names does."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return ["/".join(parse(key)) for key in super().list_files(prefix)]


class HoldsNoConditions(Able):
    """Correct: its server would ignore a condition, so it says that it cannot."""

    def save_if_absent(self, key: str, data: bytes) -> str:  # noqa: ARG002 - it never saves
        parse(key)
        raise StorageError("this server ignores conditions")

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:  # noqa: ARG002 - it never saves
        parse(key)
        raise StorageError("this server ignores conditions")


class TellsMinutesAsTime(Able):
    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        return FileInfo(key=key, size_bytes=info.size_bytes, modified=info.modified / 60)


class EtagIsTheSize(Able):
    def etag(self, data: bytes) -> str:
        return str(len(data))


class EtagChangesByReading(Able):
    def etag(self, data: bytes) -> str:
        return f"{super().etag(data)}{time.monotonic_ns()}"


class PagesRepeatTheLast(Able):
    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [self.get_file_info(key) for key in self.list_files(prefix) if key >= after][:limit]


class PagesIgnoreTheLimit(Able):
    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return super().list_page(prefix, limit + 1, after)


class PagesByFolder(Able):
    """Sorts folder by folder, as one who walks through them without thinking."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        keys = sorted(self.list_files(prefix), key=lambda key: key.split("/"))
        return [self.get_file_info(key) for key in keys if key.split("/") > after.split("/")][:limit]


class PagesByNumber(Able):
    """Remembers a position, which is wrong after a file was deleted."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        if after and after not in self.files:
            return super().list_page(prefix, limit, f"{after[:-1]}{chr(ord(after[-1]) + 1)}")
        return super().list_page(prefix, limit, after)


class CopiesAreLinks(Able):
    def __init__(self) -> None:
        super().__init__()
        self.links: dict[str, str] = {}

    def copy(self, source: str, target: str) -> None:
        super().copy(source, target)
        self.links[target] = source

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        if key in self.links:
            super().save(self.links[key], data)


class MovesOntoItselfToNothing(Able):
    def move(self, source: str, target: str) -> None:
        self.copy(source, target)
        self.delete(source)


class MoveLeavesTheOld(Able):
    def move(self, source: str, target: str) -> None:
        self.copy(source, target)


class CopyKeepsWhatIsThere(Able):
    def copy(self, source: str, target: str) -> None:
        data = self.load(source)
        if not self.exists(target):
            self.save(target, data)


class StreamsStopAtAnEmptyPiece(Able):
    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        super().save_stream(key, iter(iter(pieces).__next__, b""))


class StreamsComeInOnePiece(Able):
    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        yield b"".join(super().load_stream(key, start, stop))


class StreamsCountTheStopIn(Able):
    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        yield from super().load_stream(key, start, stop and stop + 1)


class StreamsSaveWhatBrokeOff(Able):
    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        parse(key)
        self.save(key, b"")
        for piece in pieces:
            self.save(key, self.load(key) + self.piece(piece))


class StreamsTranslateWhatIsTheirs(Able):
    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        try:
            super().save_stream(key, pieces)
        except OSError as error:
            raise StorageError(f"the disk failed: {error}") from None


class StreamsReadTwoVersions(Able):
    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        for at, piece in enumerate(super().load_stream(key, start, stop)):
            yield self.load(key)[start:stop][at * PIECE :][: len(piece)]


class HalfAStream(Able):
    save_stream = None  # type: ignore[assignment]


class LooksThenSaves(Able):
    def save_if_absent(self, key: str, data: bytes) -> str:
        if self.exists(key):
            raise StorageExists("something is stored")
        time.sleep(0.005)
        self.save(key, data)
        return self.etag(data)


class ComparesThenSwaps(Able):
    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        if not self.exists(key) or self.etag(self.load(key)) != etag:
            raise StorageChanged("another is stored")
        time.sleep(0.005)
        self.save(key, data)
        return self.etag(data)


class IgnoresTheEtag(Able):
    """pithings/mountx#19: the condition of a save is read and dropped."""

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:  # noqa: ARG002 - that is the fault
        self.save(key, data)
        return self.etag(data)


class RefusesAndSavesAllTheSame(HoldsNoConditions):
    def save_if_absent(self, key: str, data: bytes) -> str:
        self.save(key, data)
        return super().save_if_absent(key, data)


class SignsOneAddressForAll(Able):
    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:  # noqa: ARG002
        parse(key)
        return "https://example.org/everything"


class Good(StorageConformance):
    backend: type = Able
    lacks = ("create_directory",)

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()

    def plant(self, name: str, data: bytes) -> bool:
        planter = getattr(self.caller.provider, "plant", None)
        return planter is not None and planter(name, data)


class Kit(Good):
    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param  # the broken ones have no other


class TestAbleInBoth(Good):
    backend = AbleInBoth


for _backend in (
    Able, HoldsNoConditions, SkipsForeignNames, ListsForeignNames, IsRefusedForOneName,
    TellsMinutesAsTime, EtagIsTheSize, EtagChangesByReading, PagesRepeatTheLast, PagesIgnoreTheLimit, PagesByFolder,
    PagesByNumber, CopiesAreLinks, MovesOntoItselfToNothing, MoveLeavesTheOld, CopyKeepsWhatIsThere,
    StreamsStopAtAnEmptyPiece, StreamsComeInOnePiece, StreamsCountTheStopIn, StreamsSaveWhatBrokeOff,
    StreamsTranslateWhatIsTheirs, StreamsReadTwoVersions, HalfAStream, LooksThenSaves, ComparesThenSwaps, IgnoresTheEtag,
    RefusesAndSavesAllTheSame, SignsOneAddressForAll,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
