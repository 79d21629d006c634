"""What a storage promises: to keep files under keys until they are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class StorageProvider(Protocol):
    """Keeps bytes under keys such as "reports/2026/november.txt", blocking.

    A key is parts joined by "/": relative, without "." or "..", the same on every system.
    """

    def save(self, key: str, data: bytes) -> None:
        """Keep *data* under *key*, in place of what was there, making folders as needed.

        When it returns, the data survives a crash of the process; a reader sees the old or the new data,
        never a mixture.

        Raises:
            StorageKeyError: The key is not acceptable; nothing was written.
            StorageReadOnly: The storage may not be written.
            StorageFull: There is no room; what was there before is untouched.
        """
        ...

    def load(self, key: str) -> bytes:
        """Return what was saved.

        Raises:
            StorageNotFound: Nothing is stored under *key*; of a folder that is said too, and of what is below a file.
            StorageKeyError: The key is not acceptable.
        """
        ...

    def exists(self, key: str) -> bool:
        """Return whether a file is stored under *key*; of a folder the answer is False."""
        ...

    def delete(self, key: str) -> bool:
        """Remove the file; return whether there was one."""
        ...

    def list_files(self, prefix: str = "") -> Sequence[str]:
        """Return the keys of all files whose key begins with *prefix*, at any depth, sorted."""
        ...


@runtime_checkable
class AsyncStorageProvider(Protocol):
    """Keeps bytes under keys, asynchronously."""

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
    """Has folders, sizes and times."""

    def create_directory(self, key: str) -> None:
        """Make the folder and those above it; one that exists is fine.

        Raises:
            StorageKeyError: The key is not acceptable, or a file stands there.
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
    """Has folders, sizes and times, asynchronously."""

    async def acreate_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        ...

    async def aget_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        ...

    async def aget_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        ...
