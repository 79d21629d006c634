"""Storages with every ability, good and broken on purpose; test_conformance_storage.py runs this file."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import pytest

from llmcore.errors import StorageChanged, StorageError, StorageExists
from llmcore.support.foreign_names import Skipped
from llmcore.support.storage_keys import parse
from llmcore.types import FileInfo
from llmcore_testing.conformance import StorageConformance
from tests.broken_backends.storage_abilities_base import PIECE, Able


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
    """drivendataorg/cloudpathlib#277: a file that is moved onto itself is gone."""

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
    """owncloud/files_primary_s3#620: an upload that broke off is saved as if it were whole."""

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
    """KnpLabs/Gaufrette#305: between the look and the save, another file comes and is overwritten."""

    def save_if_absent(self, key: str, data: bytes) -> str:
        if self.exists(key):
            raise StorageExists("something is stored")
        time.sleep(0.005)
        self.save(key, data)
        return self.etag(data)


class ComparesThenSwaps(Able):
    """microsoft/botbuilder-js#181: between the comparison and the save, another version comes and is overwritten."""

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
