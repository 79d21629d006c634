"""The optional abilities of a storage: one Protocol for each ability."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from llmcore.types import FileInfo

__all__ = [
    "AsyncStorageConditional",
    "AsyncStorageCopying",
    "AsyncStorageInfo",
    "AsyncStorageListing",
    "AsyncStorageSigning",
    "AsyncStorageStreams",
    "StorageConditional",
    "StorageCopying",
    "StorageInfo",
    "StorageListing",
    "StorageSigning",
    "StorageStreams",
]


@runtime_checkable
class StorageInfo(Protocol):
    """Return the metadata of files."""

    def get_file_info(self, key: str) -> FileInfo:
        """Return the size, time, content type and ETag of one version of the file.

        Raises:
            StorageNotFound: No file is stored under *key*.
        """
        ...


@runtime_checkable
class StorageListing(Protocol):
    """List files in pages, without holding all keys in memory."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """Return the first *limit* files whose key begins with *prefix* and sorts after *after*, sorted by key.

        Pass the last key of a page as *after* to get the next page. A page of fewer than *limit* files is the last
        one. A file that exists during the whole listing is on exactly one page, even if other files are created or
        deleted meanwhile.
        """
        ...


@runtime_checkable
class StorageCopying(Protocol):
    """Copy and move files without transferring their bytes to the application."""

    def copy(self, source: str, target: str) -> None:
        """Copy the file *source* to *target* atomically. Replace an existing file.

        Raises:
            StorageNotFound: No file is stored under *source*.
        """
        ...

    def move(self, source: str, target: str) -> None:
        """Copy *source* to *target*, then delete *source*. If both keys are equal, do nothing.

        The file exists under at least one of the keys at any time.

        Raises:
            StorageNotFound: No file is stored under *source*.
        """
        ...


@runtime_checkable
class StorageStreams(Protocol):
    """Read and write in pieces, so that a file may be larger than the memory."""

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from offset *start* to *stop*, or to the end, in pieces of at most 16 MiB.

        Offsets are at least 0; a *stop* beyond the end of the file is allowed.

        All pieces are of one version, even if the file is replaced meanwhile. A caller that stops early must close the
        iterator.

        Raises:
            StorageNotFound: No file is stored under *key*; raised at the first piece.
            StorageError: *start* or *stop* is negative.
        """
        ...

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        """Store the joined *pieces* under *key*, with only a few in memory; see `StorageProvider.save`.

        If *pieces* raises, the exception is passed on and an existing file is unchanged.
        """
        ...


@runtime_checkable
class StorageConditional(Protocol):
    """Save under a condition that is checked atomically: if several processes write, exactly one succeeds.

    If an atomic check is not possible, for example because the server ignores the condition, raise StorageError and
    save nothing.
    """

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return the stored bytes and the ETag of the same version.

        Raises:
            StorageNotFound: No file is stored under *key*.
        """
        ...

    def save_if_absent(self, key: str, data: bytes) -> str:
        """Store *data* if no file is stored under *key*; return the ETag of the new file.

        Raises:
            StorageExists: A file is stored under *key*.
        """
        ...

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        """Store *data* if the stored file has the ETag *etag*; return the new ETag.

        Raises:
            StorageChanged: The file has another ETag, or no file is stored.
        """
        ...


@runtime_checkable
class StorageSigning(Protocol):
    """Create signed URLs. A signed URL gives temporary access to one file without credentials."""

    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """Return a URL for a GET or PUT of the file, valid for *expires_s* seconds. Treat it as a secret."""
        ...


@runtime_checkable
class AsyncStorageInfo(Protocol):
    """Return the metadata of files, asynchronously."""

    async def aget_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        ...


@runtime_checkable
class AsyncStorageListing(Protocol):
    """List files in pages, asynchronously."""

    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        ...


@runtime_checkable
class AsyncStorageCopying(Protocol):
    """Copy and move files, asynchronously."""

    async def acopy(self, source: str, target: str) -> None:
        """See `StorageCopying.copy`."""
        ...

    async def amove(self, source: str, target: str) -> None:
        """See `StorageCopying.move`."""
        ...


@runtime_checkable
class AsyncStorageStreams(Protocol):
    """Read and write in pieces, asynchronously."""

    def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `StorageStreams.load_stream`."""
        ...

    async def asave_stream(self, key: str, pieces: AsyncIterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        ...


@runtime_checkable
class AsyncStorageConditional(Protocol):
    """Save under a condition, asynchronously."""

    async def aload_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageConditional.load_with_etag`."""
        ...

    async def asave_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageConditional.save_if_absent`."""
        ...

    async def asave_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageConditional.save_if_match`."""
        ...


@runtime_checkable
class AsyncStorageSigning(Protocol):
    """Create signed URLs, asynchronously."""

    async def asign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """See `StorageSigning.sign_url`."""
        ...
