"""The provider classes: `ObjectStorage`, and `SigningStorage`, which adds signed URLs."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence

from llmcore.errors import StorageError
from llmcore.support.storage_arguments import check_data, check_etag
from llmcore.support.storage_keys import get_content_type
from llmcore.types import FileInfo
from llmcore_storage_object import conditional_saves, listing, streams
from llmcore_storage_object.bucket import Bucket
from llmcore_storage_object.io_calls import Operation, aiterate, arun, iterate, run

__all__ = ["ObjectStorage", "SigningStorage"]


class ObjectStorage:
    """A storage in an object store. Implements every storage protocol of `llmcore.contracts` except signed URLs."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def save(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        run(self._save(key, data))

    async def asave(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        await arun(self._save(key, data))

    def load(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        return self.load_with_etag(key)[0]

    async def aload(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        return (await self.aload_with_etag(key))[0]

    def exists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        return run(self._bucket.translate_errors(key, self._bucket.exists(key)))

    async def aexists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        return await arun(self._bucket.translate_errors(key, self._bucket.exists(key)))

    def delete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        return run(self._bucket.translate_errors(key, self._bucket.delete(key), writing=True))

    async def adelete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        return await arun(self._bucket.translate_errors(key, self._bucket.delete(key), writing=True))

    def list_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        return run(self._bucket.translate_errors(prefix, listing.list_keys(self._bucket, prefix)))

    async def alist_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        return await arun(self._bucket.translate_errors(prefix, listing.list_keys(self._bucket, prefix)))

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        return run(
            self._bucket.translate_errors(prefix, listing.list_page(self._bucket, prefix, limit, after))
        )

    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        return await arun(
            self._bucket.translate_errors(prefix, listing.list_page(self._bucket, prefix, limit, after))
        )

    def create_directory(self, key: str) -> None:
        """Check that *key* is not a file. Nothing is created: in an object store, a folder exists while it has files."""
        run(self._bucket.translate_errors(key, self._bucket.make_folder(key)))

    async def acreate_directory(self, key: str) -> None:
        """See `create_directory`."""
        await arun(self._bucket.translate_errors(key, self._bucket.make_folder(key)))

    def get_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        return self.get_file_info(key).size_bytes

    async def aget_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        return (await self.aget_file_info(key)).size_bytes

    def get_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        return self.get_file_info(key).modified

    async def aget_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        return (await self.aget_file_info(key)).modified

    def get_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        return run(self._bucket.translate_errors(key, self._bucket.get_info(key)))

    async def aget_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        return await arun(self._bucket.translate_errors(key, self._bucket.get_info(key)))

    def copy(self, source: str, target: str) -> None:
        """See `StorageCopying.copy`. If the target needs another content type, the copy loads and saves the bytes."""
        if _has_other_type(source, target):
            self.save_stream(target, self.load_stream(source))
        else:
            run(self._bucket.translate_errors(source, self._bucket.copy(source, target), writing=True))

    async def acopy(self, source: str, target: str) -> None:
        """See `copy`."""
        if _has_other_type(source, target):
            await self.asave_stream(target, self.aload_stream(source))
        else:
            await arun(self._bucket.translate_errors(source, self._bucket.copy(source, target), writing=True))

    def move(self, source: str, target: str) -> None:
        """See `StorageCopying.move`. The move is a copy and a delete, so it is not atomic."""
        self.copy(source, target)
        if source != target:
            run(self._bucket.translate_errors(source, self._bucket.delete_object(source), writing=True))

    async def amove(self, source: str, target: str) -> None:
        """See `move`."""
        await self.acopy(source, target)
        if source != target:
            await arun(
                self._bucket.translate_errors(source, self._bucket.delete_object(source), writing=True)
            )

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `StorageStreams.load_stream`."""
        return iterate(
            self._bucket.translate_errors(key, streams.iterate_pieces(self._bucket, key, start, stop))
        )

    def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `StorageStreams.load_stream`."""
        return aiterate(
            self._bucket.translate_errors(key, streams.iterate_pieces(self._bucket, key, start, stop))
        )

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        source_errors: list[Exception] = []
        try:
            run(self._save_pieces(key, streams.iterate_checked(pieces, source_errors)))
        except StorageError:
            if not source_errors:
                raise
        if source_errors:
            raise source_errors[0]

    async def asave_stream(self, key: str, pieces: AsyncIterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        source_errors: list[Exception] = []
        try:
            await arun(self._save_pieces(key, streams.aiterate_checked(pieces, source_errors)))
        except StorageError:
            if not source_errors:
                raise
        if source_errors:
            raise source_errors[0]

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageConditional.load_with_etag`."""
        return run(self._bucket.translate_errors(key, self._bucket.load(key)))

    async def aload_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageConditional.load_with_etag`."""
        return await arun(self._bucket.translate_errors(key, self._bucket.load(key)))

    def save_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageConditional.save_if_absent`."""
        return run(self._save_if(key, data, None))

    async def asave_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageConditional.save_if_absent`."""
        return await arun(self._save_if(key, data, None))

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageConditional.save_if_match`."""
        return run(self._save_if(key, data, check_etag(etag)))

    async def asave_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageConditional.save_if_match`."""
        return await arun(self._save_if(key, data, check_etag(etag)))

    def _save(self, key: str, data: object) -> Operation[None]:
        yield from self._bucket.translate_errors(key, self._bucket.save(key, check_data(data)), writing=True)

    def _save_pieces(self, key: str, pieces: Iterable[bytes] | AsyncIterable[bytes]) -> Operation[None]:
        yield from self._bucket.translate_errors(key, self._bucket.save(key, pieces), writing=True)

    def _save_if(self, key: str, data: object, etag: str | None) -> Operation[str]:
        operation = conditional_saves.save_if(self._bucket, key, check_data(data), etag)
        return (yield from self._bucket.translate_errors(key, operation, writing=True))


class SigningStorage(ObjectStorage):
    """An object storage with signed URLs."""

    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """See `StorageSigning.sign_url`."""
        return run(self._bucket.translate_errors(key, self._bucket.sign(key, expires_s, method)))

    async def asign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """See `StorageSigning.sign_url`."""
        return await arun(self._bucket.translate_errors(key, self._bucket.sign(key, expires_s, method)))


def _has_other_type(source: str, target: str) -> bool:
    """Return whether the two keys have different content types. A copy inside the store would keep the source's type."""
    return get_content_type(source) != get_content_type(target)
