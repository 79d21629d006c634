"""Storages, good and broken on purpose, under `StorageConformance`; test_conformance_storage.py runs this file."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest

from llmcore.errors import StorageKeyError, StorageNotFound
from llmcore_testing.conformance import StorageConformance

_BAD = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|^[A-Za-z]:")


class Memory:
    """Correct, blocking, without folders."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def check(self, key: str) -> None:
        unacceptable = _BAD.search(key) or not unicodedata.is_normalized("NFC", key)
        if unacceptable or any(part in ("", ".", "..") for part in key.split("/")):
            raise StorageKeyError("the key is not acceptable")

    def save(self, key: str, data: bytes) -> None:
        self.check(key)
        with self.lock:
            self.files[key] = bytes(data)

    def load(self, key: str) -> bytes:
        self.check(key)
        found = self.files.get(key)
        if found is None:
            raise StorageNotFound("nothing is stored under the key")
        return found

    def exists(self, key: str) -> bool:
        self.check(key)
        return key in self.files

    def delete(self, key: str) -> bool:
        self.check(key)
        with self.lock:
            return self.files.pop(key, None) is not None

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key in list(self.files) if key.startswith(prefix))


class AsyncMemory:
    """Correct and asynchronous."""

    def __init__(self) -> None:
        self.inner = Memory()
        self.closed = 0

    async def turn(self) -> None:
        await asyncio.sleep(0)

    async def asave(self, key: str, data: bytes) -> None:
        await self.turn()
        self.inner.save(key, data)

    async def aload(self, key: str) -> bytes:
        await self.turn()
        return self.inner.load(key)

    async def aexists(self, key: str) -> bool:
        await self.turn()
        return self.inner.exists(key)

    async def adelete(self, key: str) -> bool:
        await self.turn()
        return self.inner.delete(key)

    async def alist_files(self, prefix: str = "") -> Sequence[str]:
        await self.turn()
        return self.inner.list_files(prefix)

    async def aclose(self) -> None:
        await self.turn()
        self.closed += 1


class Both(AsyncMemory, Memory):
    """Correct sync and async, with a file system."""

    def __init__(self) -> None:
        Memory.__init__(self)
        super().__init__()
        self.inner = self
        self.times: dict[str, float] = {}

    def save(self, key: str, data: bytes) -> None:
        super().save(key, data)
        self.times[key] = time.time()

    def create_directory(self, key: str) -> None:
        self.check(key)
        if key in self.files:
            raise StorageKeyError("a file stands there")

    def get_file_size(self, key: str) -> int:
        return len(self.load(key))

    def get_modified_time(self, key: str) -> float:
        self.load(key)
        return self.times[key]

    async def acreate_directory(self, key: str) -> None:
        self.create_directory(key)

    async def aget_file_size(self, key: str) -> int:
        return self.get_file_size(key)

    async def aget_modified_time(self, key: str) -> float:
        return self.get_modified_time(key)


class LosesTheLastByte(Memory):
    def save(self, key: str, data: bytes) -> None:
        super().save(key, data[:-1])


class TakesFoldersForFiles(Memory):
    """pravega/pravega#4591: `exists` lists with the key as prefix, so a folder exists."""

    def exists(self, key: str) -> bool:
        return super().exists(key) or bool(self.list_files(f"{key}/"))


class DeleteReturnsNone(Memory):
    def delete(self, key: str) -> bool:
        super().delete(key)
        return None  # type: ignore[return-value]


class DeleteAlwaysSaysTrue(Memory):
    def delete(self, key: str) -> bool:
        super().delete(key)
        return True


class ListsUnsorted(Memory):
    def list_files(self, prefix: str = "") -> Sequence[str]:
        return [key for key in self.files if key.startswith(prefix)]


class ListsWithoutLookingAtThePrefix(Memory):
    """unjs/unstorage#729: the prefix of a list is ignored."""

    def list_files(self, prefix: str = "") -> Sequence[str]:
        return super().list_files(prefix[:0])


class TakesThePrefixForAFolder(Memory):
    def list_files(self, prefix: str = "") -> Sequence[str]:
        return super().list_files(f"{prefix.rstrip('/')}/" if prefix else "")


class FindsNothingEmpty(Memory):
    def load(self, key: str) -> bytes:
        self.check(key)
        return self.files.get(key, b"")


class RaisesKeyError(Memory):
    def load(self, key: str) -> bytes:
        self.check(key)
        return self.files[key]


class TakesAnyKey(Memory):
    """langbot-app/LangBot#2087: keys are joined to a path as they are."""

    def check(self, key: str) -> None:
        pass


class NormalisesKeys(Memory):
    """sindresorhus/filenamify#40: names are normalised, and cannot be found again."""

    def save(self, key: str, data: bytes) -> None:
        super().save(unicodedata.normalize("NFC", key), data)


class IgnoresCase(Memory):
    """onitu/onitu#73: two names that differ in case are one file."""

    def save(self, key: str, data: bytes) -> None:
        super().save(next((known for known in self.files if known.lower() == key.lower()), key), data)


class KeepsTheFirst(Memory):
    def save(self, key: str, data: bytes) -> None:
        self.check(key)
        self.files.setdefault(key, data)


class Appends(Memory):
    def save(self, key: str, data: bytes) -> None:
        super().save(key, self.files.get(key, b"") + data)


class DeletesWholeFolders(Memory):
    """minio/minio#1915: deleting a name deletes what lies below it."""

    def delete(self, key: str) -> bool:
        found = super().delete(key)
        for below in self.list_files(f"{key}/"):
            super().delete(below)
        return found


class ReturnsText(Memory):
    def load(self, key: str) -> bytes:
        return super().load(key).decode("latin-1")  # type: ignore[return-value]


class WritesInPlace(Memory):
    """unjs/unstorage#797: a reader sees a file that is being written in part."""

    def save(self, key: str, data: bytes) -> None:
        self.check(key)
        self.files[key] = b""
        for start in range(0, len(data), 4096):
            self.files[key] += data[start : start + 4096]
            time.sleep(0)


class BlocksUnderAnAsyncName(AsyncMemory):
    def aload(self, key: str) -> Any:
        return self.inner.load(key)


class IsAsyncUnderABlockingName(Memory):
    async def load(self, key: str) -> bytes:  # type: ignore[override]
        return super().load(key)


class MilliSeconds(Both):
    """mickael-kerjean/filestash#204: times are in another unit."""

    def get_modified_time(self, key: str) -> float:
        return super().get_modified_time(key) * 1000


class HalfAFileSystem(Memory):
    def get_file_size(self, key: str) -> int:
        return len(self.load(key))


class HalfAVariant(Memory):
    async def aload(self, key: str) -> bytes:
        return self.load(key)


class NoStorage:
    def put(self, key: str, data: bytes) -> None: ...


GOOD = (Memory, AsyncMemory, Both)
BROKEN = (
    Appends, BlocksUnderAnAsyncName, DeleteAlwaysSaysTrue, DeleteReturnsNone, DeletesWholeFolders,
    FindsNothingEmpty, HalfAVariant, HalfAFileSystem, IgnoresCase, IsAsyncUnderABlockingName, KeepsTheFirst,
    ListsUnsorted, ListsWithoutLookingAtThePrefix, LosesTheLastByte, MilliSeconds, NoStorage, NormalisesKeys,
    RaisesKeyError, ReturnsText, TakesAnyKey, TakesFoldersForFiles, TakesThePrefixForAFolder, WritesInPlace,
)  # fmt: skip
ABILITIES = ("get_file_info", "list_page", "copy", "load_stream", "save_if_absent", "sign_url")
TWO_VARIANTS = (BlocksUnderAnAsyncName, HalfAVariant, MilliSeconds)


def _under_the_kit(backend: type) -> type[StorageConformance]:
    @pytest.fixture
    def provider(_self: StorageConformance) -> Any:
        return backend()

    @pytest.fixture(params=["sync"])
    def variant(_self: StorageConformance, request: pytest.FixtureRequest) -> Any:
        return request.param

    # A fault of the sync variant alone needs no second run in which everything is skipped.
    one = {} if backend in (*GOOD, *TWO_VARIANTS) else {"variant": variant}
    # What may be there besides is the matter of storage_abilities.py.
    lacks = {"lacks": ABILITIES} if backend is Both else {}
    return type(f"Test{backend.__name__}", (StorageConformance,), {"provider": provider, **one, **lacks})


globals().update({f"Test{backend.__name__}": _under_the_kit(backend) for backend in (*GOOD, *BROKEN)})


class TestBuiltOnTheLoop(StorageConformance):
    @pytest.fixture
    def provider(self) -> Any:
        async def build() -> AsyncMemory:
            storage = AsyncMemory()
            await storage.turn()
            return storage

        return build()


class TestForgottenFixture(StorageConformance):
    pass
