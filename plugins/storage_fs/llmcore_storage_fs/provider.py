"""The storage `fs`: files under one folder, written whole or not at all, and nothing outside it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from llmcore.errors import ConfigError, StorageError
from llmcore_storage_fs import faults, files, folders, keys, listing, paths, temporary
from llmcore_storage_fs.folders import Folder

__all__ = ["FsStorage"]

T = TypeVar("T")


class OpenRoot(Protocol):
    """Opens the root, made first if *create*."""

    def __call__(self, path: str, *, create: bool) -> Folder: ...


class FsStorage:
    """Keeps `StorageProvider` and `FileSystemProvider` of `llmcore.contracts`, in both colours.

    The blocking methods may be called from several threads and processes at once.

    Args:
        root: The folder that holds the files. A relative one counts from the working directory of now.
        open_root: How folders are opened; by default the safest way of this system.

    Raises:
        ConfigError: *root* is not a path.
    """

    def __init__(self, root: str | os.PathLike[str], *, open_root: OpenRoot | None = None) -> None:
        self._root = _absolute(root)
        self._open_root = open_root or (folders.open_root if folders.SUPPORTED else paths.open_root)
        try:
            with self._open_root(self._root, create=False) as folder:
                temporary.sweep(folder)
        except OSError:
            return  # there is no root yet; or it cannot be used, which the first call will tell

    def save(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        parts = keys.parse(key)
        self._guarded(key, partial(self._save, parts, _checked(data)), writing=True)

    def load(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        parts = keys.parse(key)
        return self._guarded(key, partial(self._load, parts))

    def exists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        parts = keys.parse(key)
        return self._guarded(key, partial(self._exists, parts))

    def delete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        parts = keys.parse(key)
        return self._guarded(key, partial(self._delete, parts), writing=True)

    def list_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        parts, beginning = keys.parse_prefix(prefix)
        return self._guarded(prefix, partial(self._list, parts, beginning))

    def create_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        parts = keys.parse(key)
        self._guarded(key, lambda: self._walk(parts, create=True).close(), writing=True)

    def get_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        parts = keys.parse(key)
        return self._guarded(key, partial(self._describe, parts)).st_size

    def get_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        parts = keys.parse(key)
        return self._guarded(key, partial(self._describe, parts)).st_mtime

    async def asave(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`. When cancelled, the file is still written wholly or not at all."""
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

    async def acreate_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        await _in_thread(self.create_directory, key)

    async def aget_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        return await _in_thread(self.get_file_size, key)

    async def aget_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        return await _in_thread(self.get_modified_time, key)

    def _save(self, parts: tuple[str, ...], data: bytes) -> None:
        with self._walk(parts[:-1], create=True) as folder:
            files.check_target(folder, parts[-1])
            temporary.write(folder, parts[-1], data)

    def _load(self, parts: tuple[str, ...]) -> bytes:
        with self._walk(parts[:-1]) as folder:
            return files.read(folder, parts[-1])

    def _describe(self, parts: tuple[str, ...]) -> os.stat_result:
        with self._walk(parts[:-1]) as folder:
            return files.describe(folder, parts[-1])

    def _exists(self, parts: tuple[str, ...]) -> bool:
        try:
            self._describe(parts)
        except OSError as error:
            if faults.absent(error) or isinstance(error, files.NotAFile):
                return False
            raise
        return True

    def _delete(self, parts: tuple[str, ...]) -> bool:
        try:
            with self._walk(parts[:-1]) as folder:
                files.describe(folder, parts[-1])
                folder.unlink(parts[-1])
                folder.sync()
        except OSError as error:
            if faults.absent(error) or isinstance(error, files.NotAFile):
                return False
            raise
        return True

    def _list(self, parts: tuple[str, ...], beginning: str) -> list[str]:
        base = "".join(f"{part}/" for part in parts)
        try:
            with self._walk(parts) as folder:
                return sorted(listing.find(folder, base, beginning, keys.MAX_PARTS - len(parts)))
        except OSError as error:
            if faults.absent(error) or isinstance(error, files.NotAFile):
                return []
            raise

    def _walk(self, parts: tuple[str, ...], *, create: bool = False) -> Folder:
        try:
            root = self._open_root(self._root, create=create)
        except OSError as error:
            if error.errno == errno.ENOENT and not create:
                raise
            raise faults.RootError(error.errno, error.strerror) from None
        return files.walk(root, parts, create=create)

    def _guarded(self, key: str, work: Callable[[], T], *, writing: bool = False) -> T:
        try:
            return work()
        except OSError as error:
            fault = faults.translate(error, key, self._root, writing=writing)
        except UnicodeError:
            fault = faults.unwritable(key, self._root)
        # Outside the block above, so that the system's exception does not hang on ours.
        raise fault


def _absolute(root: str | os.PathLike[str]) -> str:
    path: object = os.fspath(root) if isinstance(root, str | os.PathLike) else root
    if isinstance(path, str) and path and "\0" not in path:
        with suppress(RuntimeError):  # there is no such user's home
            return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - resolve() would follow links
    raise ConfigError(
        f"{root!a} is no folder's path",
        where="storage.fs.root",
        expected="a path as text, not empty",
        fix="llmcore config set storage.fs.root ./data",
    )


def _checked(data: object) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        text = isinstance(data, str)
        raise StorageError(
            f"save takes bytes, got {type(data).__name__}",
            where="argument data",
            expected="bytes",
            fix="save(key, text.encode())"
            if text
            else "turn it into bytes first, for example with json.dumps",
        )
    if memoryview(data).nbytes > files.MAX_FILE_BYTES:
        raise StorageError(
            f"{memoryview(data).nbytes} bytes are too many to be saved in one piece",
            where="argument data",
            expected=f"at most {files.MAX_FILE_BYTES} bytes",
            fix="save it in several files",
        )
    return bytes(data)


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    import asyncio

    return await asyncio.to_thread(work, *arguments)
