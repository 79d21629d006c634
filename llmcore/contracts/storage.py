"""The contract of a storage. A storage stores files under keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

__all__ = ["AsyncFileSystemProvider", "AsyncStorageProvider", "FileSystemProvider", "StorageProvider"]


@runtime_checkable
class StorageProvider(Protocol):
    """Store bytes under keys such as "reports/2026/november.txt", blocking.

    A key consists of parts joined by "/". A key is relative, has no "." or ".." parts, and is valid on every system.
    """

    def save(self, key: str, data: bytes) -> None:
        """Store *data* under *key*. Replace an existing file, and create the folders that are missing.

        After the return, the data survives a crash of the process. A reader sees the old or the new data, never a mixture.

        Raises:
            StorageKeyError: The key is not acceptable; nothing was written.
            StorageReadOnly: The storage does not permit writing.
            StorageFull: The storage is full; an existing file is unchanged.
        """
        ...

    def load(self, key: str) -> bytes:
        """Return the stored bytes.

        Raises:
            StorageNotFound: No file is stored under *key*, for example because *key* is a folder or a path below a file.
            StorageKeyError: The key is not acceptable.
        """
        ...

    def exists(self, key: str) -> bool:
        """Return whether a file is stored under *key*; False for a folder."""
        ...

    def delete(self, key: str) -> bool:
        """Delete the file; return whether it existed."""
        ...

    def list_files(self, prefix: str = "") -> Sequence[str]:
        """Return the keys of all files whose key begins with *prefix*, at any depth, sorted.

        Other programs may write to the same folder or bucket. Skip files whose names are not valid keys, and the
        "folder/" markers of web consoles. List all other files. `llmcore.support.foreign_names` counts and reports
        skipped names.
        """
        ...


@runtime_checkable
class AsyncStorageProvider(Protocol):
    """Store bytes under keys, asynchronously."""

    async def asave(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        ...

    async def aload(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        ...

    async def aexists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        ...

    async def adelete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        ...

    async def alist_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        ...


@runtime_checkable
class FileSystemProvider(Protocol):
    """Create folders, and return sizes and times of files."""

    def create_directory(self, key: str) -> None:
        """Create the folder and its parents. An existing folder is not an error.

        Raises:
            StorageKeyError: The key is not acceptable, or it names a file.
        """
        ...

    def get_file_size(self, key: str) -> int:
        """Return the size of the file in bytes.

        Raises:
            StorageNotFound: Nothing is stored under *key*.
        """
        ...

    def get_modified_time(self, key: str) -> float:
        """Return when the file was last saved, in seconds since 1970-01-01 UTC.

        Raises:
            StorageNotFound: Nothing is stored under *key*.
        """
        ...


@runtime_checkable
class AsyncFileSystemProvider(Protocol):
    """Create folders, and return sizes and times of files, asynchronously."""

    async def acreate_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        ...

    async def aget_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        ...

    async def aget_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        ...
