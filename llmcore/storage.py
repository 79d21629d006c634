"""The client for storages: what an application calls to keep files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmcore.calls.asking import asked
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import StorageError, StorageKeyError
from llmcore.types import FileInfo

__all__ = ["StorageClient"]


class StorageClient:
    """Keeps files under keys such as "reports/november.txt". Each method has an async twin with the prefix `a`.

    Every method raises a `StorageError`: `StorageKeyError` for a key that is not acceptable, `StorageNotFound`,
    `StorageReadOnly`, `StorageFull`.
    """

    def __init__(self, opener: Callable[[], Backend]) -> None:
        self._opener = opener

    def save(self, key: str, data: bytes | str) -> None:
        """Keep *data*, a text as UTF-8, in place of what was there: wholly or not at all."""
        run(self._ask("save", key, _as_bytes(data)))

    async def asave(self, key: str, data: bytes | str) -> None:
        """See `save`."""
        await arun(self._ask("save", key, _as_bytes(data)))

    def load(self, key: str) -> bytes:
        """Return what was saved."""
        return bytes(run(self._ask("load", key)))

    async def aload(self, key: str) -> bytes:
        """See `load`."""
        return bytes(await arun(self._ask("load", key)))

    def exists(self, key: str) -> bool:
        """Return whether a file is stored under *key*."""
        return bool(run(self._ask("exists", key)))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return bool(await arun(self._ask("exists", key)))

    def delete(self, key: str) -> bool:
        """Remove the file; return whether there was one."""
        return bool(run(self._ask("delete", key)))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await arun(self._ask("delete", key)))

    def list_files(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with *prefix*, at any depth, sorted."""
        return list(run(self._ask("list_files", prefix)))

    async def alist_files(self, prefix: str = "") -> list[str]:
        """See `list_files`."""
        return list(await arun(self._ask("list_files", prefix)))

    def create_directory(self, key: str) -> None:
        """Make the folder and those above it."""
        run(self._ask("create_directory", key))

    async def acreate_directory(self, key: str) -> None:
        """See `create_directory`."""
        await arun(self._ask("create_directory", key))

    def get_file_size(self, key: str) -> int:
        """Return the size of the file in bytes."""
        return int(run(self._ask("get_file_size", key)))

    async def aget_file_size(self, key: str) -> int:
        """See `get_file_size`."""
        return int(await arun(self._ask("get_file_size", key)))

    def get_modified_time(self, key: str) -> float:
        """Return when the file was last saved, in seconds since 1970-01-01 UTC."""
        return float(run(self._ask("get_modified_time", key)))

    async def aget_modified_time(self, key: str) -> float:
        """See `get_modified_time`."""
        return float(await arun(self._ask("get_modified_time", key)))

    def info(self, keys: Sequence[str]) -> list[FileInfo]:
        """Return size and time of each of *keys*."""
        return [
            FileInfo(key=key, size_bytes=self.get_file_size(key), modified=self.get_modified_time(key))
            for key in keys
        ]

    def _ask(self, method: str, key: str, *rest: Any) -> Act[Any]:
        if not isinstance(key, str):
            raise StorageKeyError(
                f"not a key: {key!r}", expected="a text such as 'reports/november.txt'", fix=f"str({key!r})"
            )
        backend = self._opener()
        return (yield from asked(backend, backend.must(method)(key, *rest), StorageError))


def _as_bytes(data: bytes | str) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise StorageError(
        f"a {type(data).__name__} cannot be saved as it is", expected="bytes or str", fix="json.dumps(data)"
    )
