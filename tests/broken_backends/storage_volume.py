"""Storages that break with many files, large files, unusual names and ranges; test_conformance_storage_volume.py runs this file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, unquote_plus

import pytest

from llmcore.errors import StorageError, StorageFull, StorageNotFound
from llmcore.support.storage_keys import parse
from llmcore.types import FileInfo
from llmcore_testing import StorageConformance
from tests.broken_backends.storage_abilities_base import Able

PART = 8 << 20


class ListsTheFirstThousand(Able):
    """kestra-io/kestra#8384: the first page of the server is taken for the whole list."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return super().list_files(prefix)[:1000]

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [self.get_file_info(key) for key in super().list_files(prefix) if key > after][:limit]


class PagesOfAThousandAtMost(Able):
    """boto/boto3#1927: a page has at most the 1,000 entries of the server's pages, whatever the limit says."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return super().list_page(prefix, min(limit, 1000), after)


class LosesAFileBetweenPages(Able):
    """open-io/oio-swift#169: takes the marker of the next page for the last key of this one."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        keys = super().list_files(prefix)
        return [key for number, key in enumerate(keys) if (number + 1) % 1001]


class RepeatsAFileBetweenPages(Able):
    """versity/versitygw#179: asks for the next page from the last key, with this key."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        keys = super().list_files(prefix)
        return [*keys[:1000], *keys[999:]] if len(keys) > 1000 else keys


class FiltersThePageByPrefix(Able):
    """gyorilab/emmaa#95: the prefix is applied after the first page was read."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        keys = super().list_files()
        return [key for key in (keys[:1000] if prefix else keys) if key.startswith(prefix)]

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        return [self.get_file_info(key) for key in super().list_files(prefix) if key > after][:limit]


class SortsAsUtf16(Able):
    """Sorts keys as JavaScript and Java do."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return sorted(super().list_files(prefix), key=lambda key: key.encode("utf-16-be"))


class SwapsLateParts(Able):
    """SiaFoundation/renterd#769: the parts of a large file are assembled out of order."""

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data[PART:] + data[:PART])


class DropsTheLastPart(Able):
    """aws/aws-sdk-php#2055: a part of a large file is missing."""

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data if len(data) < PART else data[:PART])


class MakesAFileOfEachPart(Able):
    """Leaves the uploaded parts next to the file."""

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        if len(data) > PART:
            super().save(f"{key}.part1", data[:PART])


class Limited(Able):
    """Correct, with a largest size."""

    limit: ClassVar[int] = 50_000_000

    def save(self, key: str, data: bytes) -> None:
        if len(data) > self.limit:
            self.refuse(key, data)
        super().save(key, data)

    def refuse(self, key: str, data: bytes) -> None:
        parse(key)
        raise StorageFull(f"a file has at most {self.limit} bytes, got {len(data)}")


class SmallLimit(Limited):
    """Correct, with a small limit, and says so to the kit."""

    limit = 2_000_000


class RefusesBelowItsLimit(SmallLimit):
    """Counts the name too."""

    def save(self, key: str, data: bytes) -> None:
        if len(key) + len(data) > self.limit:
            self.refuse(key, data)
        super().save(key, data)


class CutsAtItsLimit(SmallLimit):
    """Cuts what is too long, without an error."""

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data[: self.limit])


class DeletesWhatItCannotReplace(SmallLimit):
    """Deletes the old file before it knows whether the new one fits."""

    def refuse(self, key: str, data: bytes) -> None:
        self.files.pop(key, None)
        super().refuse(key, data)


class RaisesOverflowError(SmallLimit):
    """psf/requests#2717: a body beyond 2 GiB ends in an OverflowError."""

    def refuse(self, key: str, data: bytes) -> None:  # noqa: ARG002 - that is the fault
        raise OverflowError("too large")


class CopiesAsciiNamesAlone(Able):
    """rusoto/rusoto#630: the source of a copy is not URL-encoded, so the server does not find it."""

    def copy(self, source: str, target: str) -> None:
        if not source.isascii():
            raise StorageNotFound("the source does not exist")
        super().copy(source, target)


class CopiesWithAPlusAsASpace(Able):
    """ExtensionEngine/tailor#930: names with a "+" cannot be copied, because it is decoded to a space."""

    def copy(self, source: str, target: str) -> None:
        super().copy(unquote_plus(source), target)


class MovesDecodedNames(Able):
    """versity/versitygw#1834: the URL-encoded name of a source is decoded once too often or too seldom."""

    def move(self, source: str, target: str) -> None:
        super().move(source, unquote_plus(target))


class ListsQuotedNames(Able):
    """minio/minio-go#1723: lists keys as the server's XML has them with `encoding-type=url`."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        page = super().list_page(prefix, limit, after)
        return [
            FileInfo(key=quote(one.key), size_bytes=one.size_bytes, modified=one.modified) for one in page
        ]


class CountsCharacters(Able):
    """jordansissel/ruby-ftw#7: reports the length of the text, not of its bytes."""

    def get_file_info(self, key: str) -> FileInfo:
        info = super().get_file_info(key)
        size = len(self.load(key).decode(errors="replace"))
        return FileInfo(key=key, size_bytes=size, modified=info.modified, etag=info.etag)


class SavesLatinNames(Able):
    """Replaces the characters of a name that an old encoding lacks."""

    def save(self, key: str, data: bytes) -> None:
        super().save(self.spell(key), data)

    def find_file(self, key: str) -> tuple[bytes, float]:
        return super().find_file(self.spell(key))

    def exists(self, key: str) -> bool:
        return super().exists(self.spell(key))

    @staticmethod
    def spell(key: str) -> str:
        return key.encode("latin-1", "replace").decode("latin-1").replace("?", "_")


class Ranges(Able):
    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if start < 0 or (stop is not None and stop < 0):
            raise StorageError("no position in a file")
        yield from self.cut(self.load(key), start, stop)

    def cut(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        data = data[start:stop]
        for at in range(0, len(data), 1 << 20):
            yield data[at : at + (1 << 20)]


class CountsNegativeStartsFromTheEnd(Able):
    """googleapis/google-cloud-rust#2404: a negative offset is the number of bytes back from the end."""

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        data = self.load(key)[start:stop]
        for at in range(0, len(data), 1 << 20):
            yield data[at : at + (1 << 20)]


class TakesTheFirstByteForTheWholeFile(Ranges):
    """leo-project/leofs#382: a range that ends at byte 0 is taken for a range without an end."""

    def cut(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        return super().cut(data, start, None if stop == 1 else stop)


class RefusesASingleByte(Ranges):
    """versity/versitygw#810: a range whose first byte is its last one is refused."""

    def cut(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        if stop == start + 1:
            raise StorageError("the range is invalid")
        return super().cut(data, start, stop)


class IsEmptyBehindAnOffset(Ranges):
    """rustfs/rustfs#2506: ranges that start behind some offset have no bytes."""

    def cut(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        return iter(()) if start > 200_000 else super().cut(data, start, stop)


class IgnoresTheRange(Ranges):
    """apache/arrow-rs-object-store#609: the server ignores the range and sends the whole file, and it is taken for the range."""

    def cut(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        return super().cut(data, 0, None) if start == 7 else super().cut(data, start, stop)


class TellsTheRequestedLength(Ranges):
    """jamhall/s3rver#373: a range that is longer than the file is answered in its full length."""

    def cut(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        yield from super().cut(data, start, stop)
        if stop is not None and start < len(data) < stop:
            yield bytes(stop - len(data))


class FailsForAnEmptyFile(Ranges):
    """about14sheep/s3-readstream#4: asks for the last byte of a file that has none."""

    def cut(self, data: bytes, start: int, stop: int | None) -> Iterator[bytes]:
        if not data and stop is not None and stop > start:
            raise StorageError("the range cannot be satisfied")
        return super().cut(data, start, stop)


class Kit(StorageConformance):
    backend: type = Able
    lacks = ("create_directory",)

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class KitOfLimits(Kit):
    max_value_bytes = SmallLimit.limit


class TestAble(Kit):
    """Correct."""


class TestSmallLimit(KitOfLimits):
    backend = SmallLimit


for _backend in (
    ListsTheFirstThousand, PagesOfAThousandAtMost, LosesAFileBetweenPages, RepeatsAFileBetweenPages,
    FiltersThePageByPrefix, SortsAsUtf16, SwapsLateParts, DropsTheLastPart, MakesAFileOfEachPart, CopiesAsciiNamesAlone,
    CopiesWithAPlusAsASpace, MovesDecodedNames, ListsQuotedNames, CountsCharacters, SavesLatinNames,
    CountsNegativeStartsFromTheEnd, TakesTheFirstByteForTheWholeFile, RefusesASingleByte, IsEmptyBehindAnOffset,
    IgnoresTheRange, TellsTheRequestedLength, FailsForAnEmptyFile,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
for _limited in (RefusesBelowItsLimit, CutsAtItsLimit, DeletesWhatItCannotReplace, RaisesOverflowError):
    globals()[f"Test{_limited.__name__}"] = type(
        f"Test{_limited.__name__}", (KitOfLimits,), {"backend": _limited}
    )
