"""File operations below one root folder. Keys are lists of path components; errors are OSErrors."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from typing import Final, Protocol, TypeVar

from llmcore.support import storage_keys as keys
from llmcore.support.errors import raise_unchained
from llmcore.support.foreign_names import ForeignNames, Skipped
from llmcore.types import FileInfo
from llmcore_storage_fs import errors, files, listing, temporary_files
from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.temporary_files import Buffer, FileWriter

__all__ = ["OpenRoot", "Parts", "Root", "make_info"]

_PIECE: Final = 1 << 20
"""The number of bytes per read of a stream."""

_TRIES: Final = 100

Parts = tuple[str, ...]
T = TypeVar("T")


class OpenRoot(Protocol):
    """A function that opens the root folder."""

    def __call__(self, path: str, *, create: bool) -> Folder:
        """Open the root folder. With *create*, create a missing folder."""
        ...


class Root:
    """The root folder of a storage."""

    def __init__(self, path: str, opener: OpenRoot) -> None:
        self.path = path
        self._opener = opener
        self._foreign = ForeignNames(path)
        self._seen = False
        """True if this process has seen the root. If the root disappears later, for example because a disk was
        unmounted, writes must not create a new, empty root, and reads must not report a missing file."""

    def sweep(self) -> None:
        """Delete the temporary files of dead writers."""
        with self._opener(self.path, create=False) as folder:
            self._seen = True
            temporary_files.sweep(folder)

    def walk(self, parts: Sequence[str], *, create: bool = False) -> Folder:
        """Return the folder *parts*.

        Raises:
            FileNotFoundError: One of *parts* does not exist, or the root was never created.
            RootError: The root cannot be used or has disappeared.
        """
        try:
            root = self._opener(self.path, create=create and not self._seen)
        except OSError as error:
            if error.errno == errno.ENOENT and not create and not self._seen:
                raise
            raise_unchained(errors.RootError(error.errno, error.strerror))
        self._seen = True
        return files.walk(root, parts, create=create)

    def make_folder(self, parts: Parts) -> None:
        """Create the folder *parts*."""
        self._begin_in(parts, lambda _: None)[0].close()

    def load(self, parts: Parts) -> tuple[bytes, str]:
        """Return the file's bytes and etag."""
        with self.walk(parts[:-1]) as folder:
            data, described = files.read(folder, parts[-1])
            return data, files.make_etag(described)

    def describe(self, parts: Parts) -> os.stat_result:
        """Return the status of the file."""
        with self.walk(parts[:-1]) as folder:
            return files.describe(folder, parts[-1])

    def open_file(self, parts: Parts, start: int = 0) -> io.FileIO:
        """Open the file for reading from offset *start*."""
        with self.walk(parts[:-1]) as folder:
            file = files.open_file(folder, parts[-1])
        if start:
            file.seek(start)
        return file

    def iterate_pieces(self, parts: Parts, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the file's bytes from *start* to *stop*."""
        with self.open_file(parts, start) as file:
            at = start
            while piece := file.read(_PIECE if stop is None else max(0, min(_PIECE, stop - at))):
                at += len(piece)
                yield piece

    def save(self, parts: Parts, pieces: Iterable[Buffer]) -> str:
        """Save *pieces* unconditionally. Return the ETag."""

        def begin(folder: Folder) -> FileWriter:
            files.check_target(folder, parts[-1])
            return FileWriter(folder, parts[-1], lambda: files.clear_target(folder, parts[-1]))

        folder, writing = self._begin_in(parts[:-1], begin)
        with folder:
            return files.make_etag(temporary_files.write(writing, pieces))

    def save_if(self, parts: Parts, data: Buffer, etag: str | None) -> str:
        """Save *data* if the stored file has the ETag *etag*, or if no file exists and *etag* is None. Return the new ETag."""

        def begin(folder: Folder) -> FileWriter:
            check = _make_condition(folder, parts, etag)
            check()

            def check_allowed() -> None:
                check()
                files.clear_target(folder, parts[-1])

            return FileWriter(folder, parts[-1], check_allowed, must_lock=True)

        folder, writing = self._begin_in(parts[:-1], begin, create=etag is None)
        with folder:
            return files.make_etag(temporary_files.write(writing, [data]))

    def delete(self, parts: Parts) -> None:
        """Delete the file."""
        with self.walk(parts[:-1]) as folder:
            with folder.lock():
                files.describe(folder, parts[-1])
                folder.unlink(parts[-1])
            folder.sync()

    def copy(self, source: Parts, target: Parts) -> None:
        """Copy the file."""
        with self.open_file(source) as file:
            if source != target:
                self.save(target, iter(lambda: file.read(_PIECE), b""))

    def move(self, source: Parts, target: Parts) -> None:
        """Move the file atomically by a rename."""
        with self.walk(source[:-1]) as old:
            files.describe(old, source[-1])
            if source == target:
                return
            with self.walk(target[:-1], create=True) as new:
                with _lock_both(old, new):
                    files.describe(old, source[-1])
                    files.clear_target(new, target[-1])
                    old.rename(source[-1], target[-1], new)
                new.sync()
                old.sync()

    def _begin_in(
        self, parts: Parts, begin: Callable[[Folder], T], *, create: bool = True
    ) -> tuple[Folder, T]:
        """Open the folder *parts* and call *begin*, which creates a temporary file there.

        Other processes remove only empty folders, so the folder stays while it has the file. If a process removes
        the folder before *begin* creates the file, repeat both steps.
        """
        for left in reversed(range(_TRIES)):
            try:
                folder = self.walk(parts, create=create)
                try:
                    return folder, begin(folder)
                except BaseException:
                    folder.close()
                    raise
            except FileNotFoundError:
                if not create or not left:
                    raise
        raise AssertionError

    def list_keys(self, parts: Parts, beginning: str) -> list[str]:
        """Return the keys in and below the folder *parts*.

        Return only keys whose first component below this folder begins with *beginning*.
        """
        with self.walk(parts) as folder:
            skipped = Skipped()
            found = [
                key for *_, key in listing.walk_files(folder, *_get_place(parts, beginning), skipped=skipped)
            ]
        self._foreign.report(skipped)
        return found

    def list_page(self, parts: Parts, beginning: str, limit: int, after: str) -> list[FileInfo]:
        """Return information about the first *limit* files whose keys sort after *after*."""
        with self.walk(parts) as folder:
            base, beginning, _, depth = _get_place(parts, beginning)
            skipped = Skipped()
            files_in_order = listing.walk_files(
                folder, base, beginning, after, depth, skipped=skipped, few=True
            )
            with closing(files_in_order) as found:
                infos = list(islice((info for place in found if (info := _get_info(*place))), limit))
        self._foreign.report(skipped)
        return infos


def make_info(key: str, described: os.stat_result) -> FileInfo:
    """Return the file information for the status *described*."""
    return FileInfo(
        key=key,
        size_bytes=described.st_size,
        modified=described.st_mtime,
        content_type=keys.get_content_type(key),
        etag=files.make_etag(described),
    )


def _get_info(folder: Folder, name: str, key: str) -> FileInfo | None:
    try:
        return make_info(key, files.describe(folder, name))
    except OSError as error:
        if errors.is_absent(error) or isinstance(error, files.NotAFile):
            return None  # another process deleted or replaced the file
        raise


def _get_place(parts: Parts, beginning: str) -> tuple[str, str, str, int]:
    return "".join(f"{part}/" for part in parts), beginning, "", keys.MAX_PARTS - len(parts)


def _make_condition(folder: Folder, parts: Parts, etag: str | None) -> Callable[[], None]:
    def check() -> None:
        try:
            described = files.describe_or_none(folder, parts[-1])
        except files.NotAFile as error:
            if etag is None or error.errno != errno.EISDIR:
                raise
            described = None  # a folder is treated as a missing file
        now = None if described is None else files.make_etag(described)
        if now != etag:
            raise (
                errors.make_exists_error(parts)
                if etag is None
                else errors.make_changed_error(parts, there=now is not None)
            )

    return check


@contextmanager
def _lock_both(one: Folder, other: Folder) -> Iterator[None]:
    with ExitStack() as locked:
        places = {folder.get_identity(): folder for folder in (one, other)}
        # All callers lock in this order, so that two opposite moves do not deadlock.
        for place in sorted(places):
            locked.enter_context(places[place].lock())
        yield
