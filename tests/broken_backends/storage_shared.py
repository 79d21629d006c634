"""Storages that break with several users, and report wrong metadata; test_conformance_storage_volume.py runs this file."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from llmcore.errors import StorageChanged
from llmcore.support.storage_keys import parse
from llmcore.types import FileInfo
from llmcore_testing import StorageConformance
from tests.broken_backends.storage_abilities_base import Able, Place

PATIENCE_S = 30.0


class CachesItsLists(Place):
    """fsspec/gcsfs#138: lists are cached, so files of others do not appear."""

    def __init__(self) -> None:
        super().__init__()
        self.cached: dict[str, Sequence[str]] = {}

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return self.cached.setdefault(prefix, super().list_files(prefix))

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        self.cached.clear()

    def delete(self, key: str) -> bool:
        self.cached.clear()
        return super().delete(key)


class CachesWhatIsMissing(Place):
    """fsspec/gcsfs#562: a cached answer of an earlier time says that a file does not exist."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: set[str] = set()

    def exists(self, key: str) -> bool:
        if key in self.missing:
            return False
        found = super().exists(key)
        if not found:
            self.missing.add(key)
        return found

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        self.missing.discard(key)


class CachesContents(Place):
    """fsspec/gdrive-fsspec#62: a file that another client replaced is read in its old version."""

    def __init__(self) -> None:
        super().__init__()
        self.cached: dict[str, bytes] = {}

    def load(self, key: str) -> bytes:
        self.find_file(key)
        return self.cached.setdefault(key, super().load(key))

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        self.cached.pop(key, None)


class CachesMetadata(Place):
    """Zipstack/unstract#1334: metadata of files that others changed is stale."""

    def __init__(self) -> None:
        super().__init__()
        self.cached: dict[str, FileInfo] = {}

    def get_file_info(self, key: str) -> FileInfo:
        self.find_file(key)
        return self.cached.setdefault(key, super().get_file_info(key))

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        self.cached.pop(key, None)


class ListsWhatIsGone(Place):
    """fsspec/s3fs#657: a list has files that cannot be opened, since another client deleted them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def list_files(self, prefix: str = "") -> Sequence[str]:
        self.seen |= set(super().list_files())
        return sorted(key for key in self.seen if key.startswith(prefix))

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [
            self.get_file_info(key) for key in super().list_files(prefix) if key in self.files and key > after
        ][:limit]

    def delete(self, key: str) -> bool:
        self.seen.discard(key)
        return super().delete(key)


class NumbersVersionsInEachInstance(Place):
    """Counts versions in memory, so that two instances give one version two ETags."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(id(self))
        self.etags: dict[bytes, str] = {}

    def etag(self, data: bytes) -> str:
        return self.etags.setdefault(data, str(next(self.numbers)))


class ChecksItsOwnVersionsAlone(Place):
    """Compares the ETag with the one of its own last save."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: dict[str, str] = {}

    def save_if_absent(self, key: str, data: bytes) -> str:
        self.saved[key] = super().save_if_absent(key, data)
        return self.saved[key]

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        if self.saved.get(key, self.etag(self.load(key)) if self.exists(key) else "") != etag:
            raise StorageChanged("another is stored")
        self.save(key, data)
        self.saved[key] = self.etag(data)
        return self.saved[key]


class DeletesItsFilesAtTheEnd(Place):
    """Takes its folder for a temporary one."""

    def close(self) -> None:
        self.files.clear()


class LocksInEachInstance(Place):
    """h5i-dev/h5i#425: files are written in place, and readers of another process see a part."""

    def __init__(self) -> None:
        super().__init__()
        self.is_half, self.is_read = threading.Event(), threading.Event()

    def save(self, key: str, data: bytes) -> None:
        parse(key)
        with self.lock:
            is_new = not self.exists(key)
            super().save(key, data[: len(data) // 2])
            if not is_new:  # the other instance reads the half
                self.is_half.set()
                self.is_read.wait(PATIENCE_S)
            super().save(key, data)

    def load(self, key: str) -> bytes:
        self.is_half.wait(PATIENCE_S)
        with self.lock:
            found = super().load(key)
        self.is_read.set()
        return found

    def open_again(self) -> Place:
        other = type(self)()
        other.files, other.is_half, other.is_read = self.files, self.is_half, self.is_read
        return other


class Gap(Able):
    """Correct; its readers begin in the gap between two steps of a broken write, which ends when one has looked there."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.seen, self.target = threading.Event(), threading.Event(), ""

    def load(self, key: str) -> bytes:
        self.begun.wait(PATIENCE_S)
        try:
            return super().load(key)
        finally:
            if key == self.target:
                self.seen.set()

    def open_gap(self, target: str) -> None:
        self.target = target
        self.begun.set()
        self.seen.wait(PATIENCE_S)


class DeletesTheSourceFirst(Gap):
    """odeke-em/drive#85: the old place is removed before the new one is there, so the file may be lost in between."""

    def move(self, source: str, target: str) -> None:
        data = self.find_file(source)[0]
        self.delete(source)
        self.open_gap(target)
        self.save(target, data)


class UnlinksTheTargetFirst(Gap):
    """pragmaticalabs/pragmatica#1169: a copy unlinks its target before it renames."""

    def copy(self, source: str, target: str) -> None:
        data = self.find_file(source)[0]
        self.delete(target)
        self.open_gap(target)
        self.save(target, data)


class CopiesInPlace(Gap):
    """ai-dynamo/dynamo#5809: a file that is being written is visible in part."""

    def copy(self, source: str, target: str) -> None:
        data = self.find_file(source)[0]
        self.save(target, data[: len(data) // 2])
        self.open_gap(target)
        self.save(target, data)


class TakesLocalTimeForUtc(Able):
    """s3fs-fuse/s3fs-fuse#3: the time of a header in UTC is converted with `mktime`, in local time."""

    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        modified = time.mktime((*time.gmtime(info.modified)[:8], -1))
        return FileInfo(
            key=key,
            size_bytes=info.size_bytes,
            modified=modified,
            content_type=info.content_type,
            etag=info.etag,
        )


class ListsLocalTimes(Able):
    """fsspec/gcsfs#526: one of two ways to read a time is in the local time zone."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [
            FileInfo(
                key=info.key,
                size_bytes=info.size_bytes,
                modified=info.modified - time.timezone,
                etag=info.etag,
            )
            for info in super().list_page(prefix, limit, after)
        ]


class CopiesWithoutTheType(Able):
    """Azure/Azurite#47: a copy has the content type application/octet-stream."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: set[str] = set()

    def copy(self, source: str, target: str) -> None:
        super().copy(source, target)
        self.copies.add(target)

    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        kind = "application/octet-stream" if key in self.copies else info.content_type
        return FileInfo(
            key=key, size_bytes=info.size_bytes, modified=info.modified, content_type=kind, etag=info.etag
        )


class StreamsKeepOldMetadata(Able):
    """Writes streams by another way, which does not renew what it knows of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, int] = {}

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        self.sizes[key] = len(data)

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        parse(key)
        data = b"".join(map(self.piece, pieces))
        self.files[key] = (data, time.time())
        self.sizes.setdefault(key, len(data))

    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        return FileInfo(key=key, size_bytes=self.sizes[key], modified=info.modified, etag=info.etag)


class ListsQuotedEtags(Able):
    """remotestorage/remotestorage.js#1316: the list has ETags in quotes, the file information has not."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [
            FileInfo(key=info.key, size_bytes=info.size_bytes, modified=info.modified, etag=f'"{info.etag}"')
            for info in super().list_page(prefix, limit, after)
        ]


class ReportsSizesAsTexts(Able):
    """Hands a header on as it is."""

    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        size: Any = str(info.size_bytes)
        return FileInfo(key=key, size_bytes=size, modified=info.modified, etag=info.etag)


class ReportsWholeSeconds(Able):
    """Truncates times to a type that is not a float."""

    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        return FileInfo(key=key, size_bytes=info.size_bytes, modified=int(info.modified), etag=info.etag)


class ReportsWhenItWasAsked(Able):
    """etianen/django-s3-storage#47: without the time of the server, another time is reported."""

    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        return FileInfo(key=key, size_bytes=info.size_bytes, modified=info.modified - 86_000, etag=info.etag)


class ComparesListedEtagsLiterally(Able):
    """Refuses the ETag that its own list reported, since it is marked as a weak one there."""

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        if etag == self.etag(b"1") and self.files.get(key, (b"", 0.0))[0] == b"1" and not self.made:
            raise StorageChanged("another is stored")
        return super().save_if_match(key, data, etag)

    made = True

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        self.made = False
        return super().list_page(prefix, limit, after)


class FindsByPrefix(Able):
    """etianen/django-s3-storage#55: `exists` lists with the key as prefix, so "a" exists if "a.map" does."""

    def exists(self, key: str) -> bool:
        parse(key)
        return any(stored.startswith(key) for stored in list(self.files))


class FindsEachFolder(Able):
    """apache/opendal#2086: a key that ends with "/" always exists."""

    def exists(self, key: str) -> bool:
        return True if key.endswith("/") else super().exists(key)


class Kit(StorageConformance):
    backend: type = Able
    lacks = ("create_directory", "fork")

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()

    @pytest.fixture
    def twin(self, provider: Any) -> Any:
        return provider.open_again() if isinstance(provider, Place) else None


class TestPlace(Kit):
    backend = Place


for _backend in (
    CachesItsLists, CachesWhatIsMissing, CachesContents, CachesMetadata, ListsWhatIsGone, NumbersVersionsInEachInstance,
    ChecksItsOwnVersionsAlone, DeletesItsFilesAtTheEnd, LocksInEachInstance, DeletesTheSourceFirst, UnlinksTheTargetFirst,
    CopiesInPlace, TakesLocalTimeForUtc, ListsLocalTimes, CopiesWithoutTheType, StreamsKeepOldMetadata, ListsQuotedEtags,
    ReportsSizesAsTexts, ReportsWholeSeconds, ReportsWhenItWasAsked, ComparesListedEtagsLiterally, FindsByPrefix,
    FindsEachFolder,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
