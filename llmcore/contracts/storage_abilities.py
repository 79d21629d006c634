"""What a storage may be able to do besides keeping files: each ability is a Protocol of its own."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from llmcore.types import FileInfo


@runtime_checkable
class StorageInfo(Protocol):
    """Knows more of a file than its bytes."""

    def get_file_info(self, key: str) -> FileInfo:
        """Return size, time, content type and etag of the file, all of one moment.

        Raises:
            StorageNotFound: Nothing is stored under *key*.
        """
        ...


@runtime_checkable
class StorageListing(Protocol):
    """Lists page by page, so that nobody must hold all keys at once."""

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """Return the first *limit* files whose key begins with *prefix* and comes after *after*, sorted by key.

        The last key of a page is the *after* of the next one; a page of fewer than *limit* files is the last. A file
        that is there all the while is on exactly one page, whatever comes and goes meanwhile.
        """
        ...


@runtime_checkable
class StorageCopying(Protocol):
    """Copies and moves files without their bytes going through the application."""

    def copy(self, source: str, target: str) -> None:
        """Store what is under *source* under *target* too, in place of what was there, wholly or not at all.

        Raises:
            StorageNotFound: Nothing is stored under *source*.
        """
        ...

    def move(self, source: str, target: str) -> None:
        """Copy, then delete *source*. At no moment is the file under neither key; onto itself it stays.

        Raises:
            StorageNotFound: Nothing is stored under *source*.
        """
        ...


@runtime_checkable
class StorageStreams(Protocol):
    """Reads and writes in pieces, so that a file may be larger than the memory."""

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from *start* up to *stop*, as a slice takes them, in pieces of at most 16 MiB.

        All pieces are of one version, even where the file is replaced meanwhile. The iterator is closed by who stops
        early.

        Raises:
            StorageNotFound: Nothing is stored under *key*; told by the first piece.
        """
        ...

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        """Keep the *pieces*, joined, under *key*; see `StorageProvider.save`. Holds a few of them at a time.

        What *pieces* raises is let through; then what was there before is untouched.
        """
        ...


@runtime_checkable
class StorageConditional(Protocol):
    """Saves under a condition that is checked in the same step, so that of several writers one wins.

    Who cannot hold that, for example because a server ignores the condition, raises a `StorageError` and saves nothing.
    """

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return what was saved, and the etag of exactly that.

        Raises:
            StorageNotFound: Nothing is stored under *key*.
        """
        ...

    def save_if_absent(self, key: str, data: bytes) -> str:
        """Keep *data* if nothing is stored under *key*; return its etag.

        Raises:
            StorageExists: Something is.
        """
        ...

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        """Keep *data* if what is stored under *key* has the *etag*; return the new one.

        Raises:
            StorageChanged: It has another, or nothing is stored.
        """
        ...


@runtime_checkable
class StorageSigning(Protocol):
    """Gives others access to one file for a while, without a key of their own."""

    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """Return an address that lets its holder GET or PUT the file for *expires_s* seconds: treat it as a secret."""
        ...


@runtime_checkable
class AsyncStorageInfo(Protocol):
    """Knows more of a file than its bytes, asynchronously."""

    async def aget_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        ...


@runtime_checkable
class AsyncStorageListing(Protocol):
    """Lists page by page, asynchronously."""

    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        ...


@runtime_checkable
class AsyncStorageCopying(Protocol):
    """Copies and moves files, asynchronously."""

    async def acopy(self, source: str, target: str) -> None:
        """See `StorageCopying.copy`."""
        ...

    async def amove(self, source: str, target: str) -> None:
        """See `StorageCopying.move`."""
        ...


@runtime_checkable
class AsyncStorageStreams(Protocol):
    """Reads and writes in pieces, asynchronously."""

    def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `StorageStreams.load_stream`."""
        ...

    async def asave_stream(self, key: str, pieces: AsyncIterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        ...


@runtime_checkable
class AsyncStorageConditional(Protocol):
    """Saves under a condition, asynchronously."""

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
    """Gives others access to one file for a while, asynchronously."""

    async def asign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """See `StorageSigning.sign_url`."""
        ...
