"""The storage `fs`: files in one folder. Writes are atomic, and no path leaves the folder."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence

from llmcore.support.threads import run_in_thread
from llmcore.types import FileInfo
from llmcore_storage_fs.blocking import BlockingFs

__all__ = ["FsStorage"]


class FsStorage(BlockingFs):
    """A storage in a local folder. Implements every storage protocol of `llmcore.contracts` except signed URLs.

    All blocking methods are safe to call from several threads and processes. The asynchronous methods run the blocking
    methods in threads. A cancelled call writes either the complete file or nothing.

    Args:
        root: The folder for the files. A relative path starts at the working directory.
        open_root: Opens the root folder; None means the safest function that the system supports.

    Raises:
        ConfigError: *root* is not a usable path.
    """

    async def asave(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        await run_in_thread(self.save, key, data)

    async def aload(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        return await run_in_thread(self.load, key)

    async def aexists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        return await run_in_thread(self.exists, key)

    async def adelete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        return await run_in_thread(self.delete, key)

    async def alist_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        return await run_in_thread(self.list_files, prefix)

    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        return await run_in_thread(self.list_page, prefix, limit, after)

    async def acreate_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        await run_in_thread(self.create_directory, key)

    async def aget_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        return await run_in_thread(self.get_file_size, key)

    async def aget_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        return await run_in_thread(self.get_modified_time, key)

    async def aget_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        return await run_in_thread(self.get_file_info, key)

    async def acopy(self, source: str, target: str) -> None:
        """See `StorageCopying.copy`."""
        await run_in_thread(self.copy, source, target)

    async def amove(self, source: str, target: str) -> None:
        """See `StorageCopying.move`."""
        await run_in_thread(self.move, source, target)

    async def aload_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageConditional.load_with_etag`."""
        return await run_in_thread(self.load_with_etag, key)

    async def asave_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageConditional.save_if_absent`."""
        return await run_in_thread(self.save_if_absent, key, data)

    async def asave_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageConditional.save_if_match`."""
        return await run_in_thread(self.save_if_match, key, data, etag)

    def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `StorageStreams.load_stream`."""
        from llmcore_storage_fs import streaming

        return streaming.load_in_thread(self.load_stream(key, start, stop))

    async def asave_stream(self, key: str, pieces: AsyncIterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        from llmcore_storage_fs import streaming

        await streaming.save_in_thread(self.save_stream, key, pieces)
