"""The work on the files below one root, key by key in parts. What fails is the system's own exception."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from typing import Final, Protocol, TypeVar

from llmcore.contracts import storage_keys as keys
from llmcore.types import FileInfo
from llmcore_storage_fs import faults, files, listing, temporary
from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.temporary import Buffer, Writing

__all__ = ["PIECE", "OpenRoot", "Parts", "Root", "info_of"]

PIECE: Final = 1 << 20
"""Bytes that a stream reads at a time."""

_TRIES: Final = 100

Parts = tuple[str, ...]
T = TypeVar("T")


class OpenRoot(Protocol):
    """Opens the root."""

    def __call__(self, path: str, *, create: bool) -> Folder:
        """Open it, made first if *create*."""
        ...


class Root:
    """One folder in which files are kept.

    Args:
        path: Where it is.
        opener: How folders are opened.
    """

    def __init__(self, path: str, opener: OpenRoot) -> None:
        self.path = path
        self._opener = opener

    def sweep(self) -> None:
        """Clear away what dead writers have left."""
        with self._opener(self.path, create=False) as folder:
            temporary.sweep(folder)

    def walk(self, parts: Sequence[str], *, create: bool = False) -> Folder:
        """Return the folder of *parts*."""
        try:
            root = self._opener(self.path, create=create)
        except OSError as error:
            if error.errno == errno.ENOENT and not create:
                raise
            raise faults.RootError(error.errno, error.strerror) from None
        return files.walk(root, parts, create=create)

    def make(self, parts: Parts) -> None:
        """Make the folder of *parts*."""
        self._begun(parts, lambda _: None)[0].close()

    def load(self, parts: Parts) -> tuple[bytes, str]:
        """Return the file's bytes and etag."""
        with self.walk(parts[:-1]) as folder:
            data, described = files.read(folder, parts[-1])
            return data, files.etag(described)

    def describe(self, parts: Parts) -> os.stat_result:
        """Return what is known of the file."""
        with self.walk(parts[:-1]) as folder:
            return files.describe(folder, parts[-1])

    def opened(self, parts: Parts, start: int = 0) -> io.FileIO:
        """Open the file for reading from *start* on."""
        with self.walk(parts[:-1]) as folder:
            file = files.opened(folder, parts[-1])
        if start:
            file.seek(start)
        return file

    def pieces(self, parts: Parts, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the file's bytes from *start* to *stop*."""
        with self.opened(parts, start) as file:
            at = start
            while piece := file.read(PIECE if stop is None else max(0, min(PIECE, stop - at))):
                at += len(piece)
                yield piece

    def save(self, parts: Parts, pieces: Iterable[Buffer]) -> str:
        """Keep the *pieces* whatever was there; return their etag."""

        def begin(folder: Folder) -> Writing:
            files.check_target(folder, parts[-1])
            return Writing(folder, parts[-1], lambda: files.make_way(folder, parts[-1]))

        folder, writing = self._begun(parts[:-1], begin)
        with folder:
            return files.etag(temporary.write(writing, pieces))

    def save_if(self, parts: Parts, data: Buffer, etag: str | None) -> str:
        """Keep *data* if the file's etag is *etag*, None meaning that there is no file; return the new one."""

        def begin(folder: Folder) -> Writing:
            check = _condition(folder, parts, etag)
            check()

            def allowed() -> None:
                check()
                files.make_way(folder, parts[-1])

            return Writing(folder, parts[-1], allowed, must_lock=True)

        folder, writing = self._begun(parts[:-1], begin, create=etag is None)
        with folder:
            return files.etag(temporary.write(writing, [data]))

    def delete(self, parts: Parts) -> None:
        """Remove the file."""
        with self.walk(parts[:-1]) as folder:
            with folder.lock():
                files.describe(folder, parts[-1])
                folder.unlink(parts[-1])
            folder.sync()

    def copy(self, source: Parts, target: Parts) -> None:
        """Write the file once more."""
        with self.opened(source) as file:
            if source != target:
                self.save(target, iter(lambda: file.read(PIECE), b""))

    def move(self, source: Parts, target: Parts) -> None:
        """Rename the file, from folder to folder in one step."""
        with self.walk(source[:-1]) as old:
            files.describe(old, source[-1])
            if source == target:
                return
            with self.walk(target[:-1], create=True) as new:
                with _both_locked(old, new):
                    files.describe(old, source[-1])
                    files.make_way(new, target[-1])
                    old.rename(source[-1], target[-1], new)
                new.sync()
                old.sync()

    def _begun(self, parts: Parts, begin: Callable[[Folder], T], *, create: bool = True) -> tuple[Folder, T]:
        """Open the folder of *parts* and let *begin* put something into it, from when on nobody can remove the folder.

        Where somebody does before, because no file is in it, both are done again.
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

    def keys(self, parts: Parts, beginning: str) -> list[str]:
        """Return the keys below the folder of *parts* whose next part begins so."""
        with self.walk(parts) as folder:
            return [key for *_, key in listing.in_order(folder, *_place(parts, beginning))]

    def page(self, parts: Parts, beginning: str, limit: int, after: str) -> list[FileInfo]:
        """Return what is known of the first *limit* files after *after*."""
        with self.walk(parts) as folder:
            base, beginning, _, depth = _place(parts, beginning)
            with closing(listing.in_order(folder, base, beginning, after, depth, few=True)) as found:
                return list(islice((info for place in found if (info := _info_in(*place))), limit))


def info_of(key: str, described: os.stat_result) -> FileInfo:
    """Return what *described* tells."""
    return FileInfo(
        key=key,
        size_bytes=described.st_size,
        modified=described.st_mtime,
        content_type=keys.content_type(key),
        etag=files.etag(described),
    )


def _info_in(folder: Folder, name: str, key: str) -> FileInfo | None:
    try:
        return info_of(key, files.describe(folder, name))
    except OSError as error:
        if faults.absent(error) or isinstance(error, files.NotAFile):  # deleted or swapped meanwhile
            return None
        raise


def _place(parts: Parts, beginning: str) -> tuple[str, str, str, int]:
    return "".join(f"{part}/" for part in parts), beginning, "", keys.MAX_PARTS - len(parts)


def _condition(folder: Folder, parts: Parts, etag: str | None) -> Callable[[], None]:
    def check() -> None:
        try:
            described = files.standing(folder, parts[-1])
        except files.NotAFile as error:
            if etag is None or error.errno != errno.EISDIR:
                raise
            described = None  # a folder is no version of a file
        now = None if described is None else files.etag(described)
        if now != etag:
            raise faults.exists(parts) if etag is None else faults.changed(parts, there=now is not None)

    return check


@contextmanager
def _both_locked(one: Folder, other: Folder) -> Iterator[None]:
    with ExitStack() as locked:
        places = {folder.identity(): folder for folder in (one, other)}
        for place in sorted(places):  # in one order everywhere, or two moves could wait for each other
            locked.enter_context(places[place].lock())
        yield
