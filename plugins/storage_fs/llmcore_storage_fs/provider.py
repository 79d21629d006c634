"""The storage `fs`: files under one folder, written whole or not at all, and nothing outside it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import TypeVar

from llmcore.types import FileInfo
from llmcore_storage_fs.blocking import BlockingFs

__all__ = ["FsStorage"]

T = TypeVar("T")


class FsStorage(BlockingFs):
    """Keeps every protocol of `llmcore.contracts` for storages but signed addresses, in both colours.

    The blocking methods may be called from several threads and processes at once. The asynchronous ones work in
    threads; when one is cancelled, the file is still written wholly or not at all.

    Args:
        root: The folder that holds the files. A relative one counts from the working directory of now.
        open_root: How folders are opened; by default the safest way of this system.

    Raises:
        ConfigError: *root* is not a path.
    """

    async def asave(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        await _in_thread(self.save, key, data)

    async def aload(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        return await _in_thread(self.load, key)

    async def aexists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        return await _in_thread(self.exists, key)

    async def adelete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        return await _in_thread(self.delete, key)

    async def alist_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        return await _in_thread(self.list_files, prefix)

    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        return await _in_thread(self.list_page, prefix, limit, after)

    async def acreate_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        await _in_thread(self.create_directory, key)

    async def aget_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        return await _in_thread(self.get_file_size, key)

    async def aget_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        return await _in_thread(self.get_modified_time, key)

    async def aget_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        return await _in_thread(self.get_file_info, key)

    async def acopy(self, source: str, target: str) -> None:
        """See `StorageCopying.copy`."""
        await _in_thread(self.copy, source, target)

    async def amove(self, source: str, target: str) -> None:
        """See `StorageCopying.move`."""
        await _in_thread(self.move, source, target)

    async def aload_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageConditional.load_with_etag`."""
        return await _in_thread(self.load_with_etag, key)

    async def asave_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageConditional.save_if_absent`."""
        return await _in_thread(self.save_if_absent, key, data)

    async def asave_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageConditional.save_if_match`."""
        return await _in_thread(self.save_if_match, key, data, etag)

    def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `StorageStreams.load_stream`."""
        from llmcore_storage_fs import streaming

        return streaming.loaded(self.load_stream(key, start, stop))

    async def asave_stream(self, key: str, pieces: AsyncIterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        from llmcore_storage_fs import streaming

        await streaming.saved(self.save_stream, key, pieces)


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    import asyncio

    return await asyncio.to_thread(work, *arguments)
