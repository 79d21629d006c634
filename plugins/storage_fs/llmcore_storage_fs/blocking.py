"""The blocking colour of the storage `fs`: checks keys, has the work done, and turns what fails into our errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from llmcore.contracts import storage_keys as keys
from llmcore.errors import ConfigError, StorageError
from llmcore.types import FileInfo
from llmcore_storage_fs import faults, files, folders, paths
from llmcore_storage_fs.root import OpenRoot, Root, info_of

__all__ = ["BlockingFs", "checked", "checked_piece", "checked_range"]

T = TypeVar("T")

_TRIES: Final = 100


class BlockingFs:
    """See `FsStorage`."""

    def __init__(self, root: str | os.PathLike[str], *, open_root: OpenRoot | None = None) -> None:
        opener = open_root or (folders.open_root if folders.SUPPORTED else paths.open_root)
        self._root = Root(_absolute(root), opener)
        with suppress(OSError):  # there is no root yet; or it cannot be used, which the first call will tell
            self._root.sweep()

    def save(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        parts, whole = keys.parse(key), checked(data)
        self._guarded(key, lambda: self._root.save(parts, [whole]), writing=True)

    def load(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        return self.load_with_etag(key)[0]

    def exists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        parts = keys.parse(key)
        return self._guarded(key, lambda: _found(lambda: self._root.describe(parts)))

    def delete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        parts = keys.parse(key)
        return self._guarded(key, lambda: _found(lambda: self._root.delete(parts)), writing=True)

    def list_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        parts, beginning = keys.parse_prefix(prefix)
        return self._guarded(prefix, lambda: _or_none(lambda: self._root.keys(parts, beginning)))

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        parts, beginning = keys.parse_prefix(prefix)
        return self._guarded(
            prefix, lambda: _or_none(lambda: self._root.page(parts, beginning, max(limit, 0), after))
        )

    def create_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        parts = keys.parse(key)
        self._guarded(key, lambda: self._root.make(parts), writing=True)

    def get_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        return self.get_file_info(key).size_bytes

    def get_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        return self.get_file_info(key).modified

    def get_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        parts = keys.parse(key)
        return self._guarded(key, lambda: info_of(key, self._root.describe(parts)))

    def copy(self, source: str, target: str) -> None:
        """See `StorageCopying.copy`."""
        self._transferred(self._root.copy, source, target)

    def move(self, source: str, target: str) -> None:
        """See `StorageCopying.move`. The file keeps its time and its etag."""
        self._transferred(self._root.move, source, target)

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `StorageStreams.load_stream`."""
        parts = keys.parse(key)
        checked_range(start, stop)
        failure: OSError
        try:
            yield from self._root.pieces(parts, start, stop)
        except OSError as error:
            failure = error
        else:
            return
        self._guarded(key, lambda: _raise(failure))

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        parts = keys.parse(key)
        theirs: list[Exception] = []

        def passed_on() -> Iterator[bytes]:
            try:
                for piece in pieces:
                    yield checked_piece(piece)
            except Exception as error:
                theirs.append(error)  # an OSError of theirs is none of ours
                raise

        try:
            self._guarded(key, lambda: self._root.save(parts, passed_on()), writing=True)
        except StorageError:
            if not theirs:
                raise
        if theirs:
            raise theirs[0]

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageConditional.load_with_etag`."""
        parts = keys.parse(key)
        return self._guarded(key, lambda: self._root.load(parts))

    def save_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageConditional.save_if_absent`."""
        parts, whole = keys.parse(key), checked(data)
        return self._guarded(key, lambda: self._root.save_if(parts, whole, None), writing=True)

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageConditional.save_if_match`."""
        parts, whole = keys.parse(key), checked(data)
        checked_etag(etag)

        def save() -> str:
            try:
                return self._root.save_if(parts, whole, etag)
            except FileNotFoundError:  # not even its folder is there
                fault = faults.changed(parts, there=False)
            raise fault

        return self._guarded(key, save, writing=True)

    def _transferred(self, work: Callable[..., None], source: str, target: str) -> None:
        parts, into = keys.parse(source), keys.parse(target)

        def done() -> bool:
            try:
                work(parts, into)
            except FileNotFoundError:
                return False
            return True

        for _ in range(_TRIES):
            # What fails while the source is looked at is the source's fault, and that it is not there no fault of writing.
            self._guarded(source, lambda: self._root.describe(parts))
            if self._guarded(target, done, writing=True):
                return
            # Somebody was faster: either the source is gone, which the next look tells, or the target's folder.
        raise faults.restless(target, self._root.path)

    def _guarded(self, key: str, work: Callable[[], T], *, writing: bool = False) -> T:
        try:
            return work()
        except OSError as error:
            fault = faults.translate(error, key, self._root.path, writing=writing)
        except UnicodeError:
            fault = faults.unwritable(key, self._root.path)
        # Outside the block above, so that the system's exception does not hang on ours.
        raise fault


def _found(work: Callable[[], object]) -> bool:
    try:
        work()
    except OSError as error:
        if faults.absent(error) or isinstance(error, files.NotAFile):
            return False
        raise
    return True


def _or_none(work: Callable[[], list[T]]) -> list[T]:
    try:
        return work()
    except OSError as error:
        if faults.absent(error) or isinstance(error, files.NotAFile):
            return []
        raise


def _raise(error: OSError) -> NoReturn:
    raise error


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


def checked(data: object) -> bytes:
    """Return *data* as bytes.

    Raises:
        StorageError: It is something else, or too much for one piece.
    """
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
            fix="save_stream() takes it piece by piece",
        )
    return bytes(data)


def checked_etag(etag: object) -> None:
    """Check that *etag* is a text, and so cannot be taken for "there is no file".

    Raises:
        StorageError: It is not.
    """
    if not isinstance(etag, str):
        raise StorageError(
            f"an etag is text, got {type(etag).__name__}",
            where="argument etag",
            expected="the etag that load_with_etag() returned",
            fix="save_if_absent(key, data)" if etag is None else None,
        )


def checked_piece(piece: object) -> bytes:
    """Return *piece* of a stream as bytes.

    Raises:
        StorageError: It is something else.
    """
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise StorageError(
            f"a stream is saved in pieces of bytes, got {type(piece).__name__}",
            where="argument pieces",
            expected="an iterable of bytes",
            fix="(piece.encode() for piece in texts)",
        )
    return bytes(piece)


def checked_range(start: int, stop: int | None) -> None:
    """Check that these are positions in a file.

    Raises:
        StorageError: One is below 0.
    """
    if start < 0 or (stop is not None and stop < 0):
        raise StorageError(
            f"no position in a file: {min(start, stop or 0)}",
            where="arguments start and stop",
            expected="bytes from the begin of the file, 0 or more",
        )
