"""The blocking methods of the storage `fs`.

These methods check arguments, call the file operations and translate errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NoReturn, TypeVar

from llmcore.errors import ConfigError, StorageError
from llmcore.support import storage_keys as keys
from llmcore.support.errors import raise_unchained
from llmcore.support.home import expand_home
from llmcore.support.storage_arguments import check_data, check_etag, check_piece, check_range
from llmcore.types import FileInfo
from llmcore_storage_fs import errors, files, folders, paths
from llmcore_storage_fs.root import OpenRoot, Root, make_info

__all__ = ["BlockingFs"]

T = TypeVar("T")

_TRIES: Final = 100


class BlockingFs:
    """See `FsStorage`."""

    def __init__(self, root: str | os.PathLike[str], *, open_root: OpenRoot | None = None) -> None:
        opener = open_root or (folders.open_root if folders.SUPPORTED else paths.open_root)
        self._root = Root(_make_absolute(root), opener)
        with suppress(OSError):  # a missing or unusable root is reported by the first call
            self._root.sweep()

    def save(self, key: str, data: bytes) -> None:
        """See `StorageProvider.save`."""
        parts, content = keys.parse(key), check_data(data)
        self._translate_errors(key, lambda: self._root.save(parts, [content]), writing=True)

    def load(self, key: str) -> bytes:
        """See `StorageProvider.load`."""
        return self.load_with_etag(key)[0]

    def exists(self, key: str) -> bool:
        """See `StorageProvider.exists`."""
        parts = keys.parse(key)
        return self._translate_errors(key, lambda: _exists(lambda: self._root.describe(parts)))

    def delete(self, key: str) -> bool:
        """See `StorageProvider.delete`."""
        parts = keys.parse(key)
        return self._translate_errors(key, lambda: _exists(lambda: self._root.delete(parts)), writing=True)

    def list_files(self, prefix: str = "") -> Sequence[str]:
        """See `StorageProvider.list_files`."""
        parts, beginning = keys.parse_prefix(prefix)
        return self._translate_errors(
            prefix, lambda: _list_or_empty(lambda: self._root.list_keys(parts, beginning))
        )

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> Sequence[FileInfo]:
        """See `StorageListing.list_page`."""
        parts, beginning = keys.parse_prefix(prefix)
        return self._translate_errors(
            prefix,
            lambda: _list_or_empty(lambda: self._root.list_page(parts, beginning, max(limit, 0), after)),
        )

    def create_directory(self, key: str) -> None:
        """See `FileSystemProvider.create_directory`."""
        parts = keys.parse(key)
        self._translate_errors(key, lambda: self._root.make_folder(parts), writing=True)

    def get_file_size(self, key: str) -> int:
        """See `FileSystemProvider.get_file_size`."""
        return self.get_file_info(key).size_bytes

    def get_modified_time(self, key: str) -> float:
        """See `FileSystemProvider.get_modified_time`."""
        return self.get_file_info(key).modified

    def get_file_info(self, key: str) -> FileInfo:
        """See `StorageInfo.get_file_info`."""
        parts = keys.parse(key)
        return self._translate_errors(key, lambda: make_info(key, self._root.describe(parts)))

    def copy(self, source: str, target: str) -> None:
        """See `StorageCopying.copy`."""
        self._transfer(self._root.copy, source, target)

    def move(self, source: str, target: str) -> None:
        """See `StorageCopying.move`. The file keeps its modification time and ETag."""
        self._transfer(self._root.move, source, target)

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `StorageStreams.load_stream`."""
        parts = keys.parse(key)
        check_range(start, stop)
        failure: OSError
        try:
            yield from self._root.iterate_pieces(parts, start, stop)
        except OSError as error:
            failure = error
        else:
            return
        self._translate_errors(key, lambda: _raise(failure))

    def save_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        """See `StorageStreams.save_stream`."""
        parts = keys.parse(key)
        source_errors: list[Exception] = []

        def iterate_source() -> Iterator[bytes]:
            try:
                for piece in pieces:
                    yield check_piece(piece)
            except Exception as error:
                source_errors.append(error)  # an OSError of the caller's source must not be translated
                raise

        try:
            self._translate_errors(key, lambda: self._root.save(parts, iterate_source()), writing=True)
        except StorageError:
            if not source_errors:
                raise
        if source_errors:
            raise source_errors[0]

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `StorageConditional.load_with_etag`."""
        parts = keys.parse(key)
        return self._translate_errors(key, lambda: self._root.load(parts))

    def save_if_absent(self, key: str, data: bytes) -> str:
        """See `StorageConditional.save_if_absent`."""
        parts, content = keys.parse(key), check_data(data)
        return self._translate_errors(key, lambda: self._root.save_if(parts, content, None), writing=True)

    def save_if_match(self, key: str, data: bytes, etag: str) -> str:
        """See `StorageConditional.save_if_match`."""
        parts, content = keys.parse(key), check_data(data)
        check_etag(etag)

        def save() -> str:
            try:
                return self._root.save_if(parts, content, etag)
            except FileNotFoundError:  # the folder does not exist
                raise_unchained(errors.make_changed_error(parts, there=False))

        return self._translate_errors(key, save, writing=True)

    def _transfer(self, work: Callable[..., None], source: str, target: str) -> None:
        parts, into = keys.parse(source), keys.parse(target)

        def try_work() -> bool:
            try:
                work(parts, into)
            except FileNotFoundError:
                return False
            return True

        for _ in range(_TRIES):
            # Check the source first: a missing source must be reported as a read error.
            self._translate_errors(source, lambda: self._root.describe(parts))
            if self._translate_errors(target, try_work, writing=True):
                return
            # Another process has deleted the source or the folder of the target. The next round finds out which one.
        raise errors.make_unstable_error(target, self._root.path)

    def _translate_errors(self, key: str, work: Callable[[], T], *, writing: bool = False) -> T:
        try:
            return work()
        except OSError as error:
            raise_unchained(errors.translate_error(error, key, self._root.path, writing=writing))
        except UnicodeError:
            raise_unchained(errors.make_unencodable_error(key, self._root.path))


def _exists(work: Callable[[], object]) -> bool:
    try:
        work()
    except OSError as error:
        if errors.is_absent(error) or isinstance(error, files.NotAFile):
            return False
        raise
    return True


def _list_or_empty(work: Callable[[], list[T]]) -> list[T]:
    try:
        return work()
    except OSError as error:
        if errors.is_absent(error) or isinstance(error, files.NotAFile):
            return []
        raise


def _raise(error: OSError) -> NoReturn:
    raise error


def _make_absolute(root: str | os.PathLike[str]) -> str:
    path: object = os.fspath(root) if isinstance(root, str | os.PathLike) else root
    fault, expected = f"root must be a path, got {root!a}", "a path as text, not empty"
    if isinstance(path, str) and path and "\0" not in path:
        try:
            return os.path.abspath(expand_home(path))  # noqa: PTH100 - resolve() would follow links in the root
        except RuntimeError:
            fault, expected = (
                f"`~` in {root!a} cannot be expanded: the user has no home directory",
                "an absolute path",
            )
        except OSError as error:
            fault = f"{root!a} is relative, but the working directory cannot be used: {error.strerror}"
            expected = "an absolute path, or a working directory that exists"
    raise ConfigError(
        fault, where="storage.fs.root", expected=expected, fix="llmcore config set storage.fs.root ./data"
    )
