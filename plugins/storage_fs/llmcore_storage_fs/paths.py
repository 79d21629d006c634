"""Opens folders by their paths, checked, where the system has no descriptors of folders.

It resolves and compares before each step. What it cannot do is hold a folder still: somebody who may write
inside the root can swap a folder for a link between the check and the step.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from llmcore_storage_fs import locks
from llmcore_storage_fs.folders import make_folders

__all__ = ["Checked", "open_root"]

_FILE: Final = (
    getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
_TRIES: Final = 100


class Checked:
    """A folder known by its path, free of links when it was last looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._check()

    def child(self, name: str, *, create: bool) -> Checked:
        """See `Folder.child`."""
        path = self._at(name)
        if create:
            with suppress(FileExistsError):
                path.mkdir(0o700)
        return Checked(path)

    def open(self, name: str, flags: int) -> int:
        """See `Folder.open`."""
        path = self._at(name)
        if flags & os.O_EXCL:
            return os.open(path, flags | _FILE, 0o600)
        for _ in range(_TRIES):
            before = path.lstat()
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ELOOP, "not a regular file")
            fd = os.open(path, flags | _FILE)
            if os.path.samestat(before, os.fstat(fd)):
                return fd
            os.close(fd)  # saved again between the two steps; or somebody plays with links
        raise OSError(errno.ELOOP, "it changes all the time")

    def stat(self, name: str) -> os.stat_result:
        """See `Folder.stat`."""
        return self._at(name).lstat()

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """See `Folder.scan`."""
        self._check()
        with os.scandir(self._path) as entries:
            yield from entries

    def rename(self, old: str, new: str, into: Checked | None = None) -> None:
        """See `Folder.rename`."""
        self._at(old).replace((into or self)._at(new))  # noqa: SLF001 - one of its own kind

    @contextmanager
    def lock(self, *, must: bool = False) -> Iterator[None]:
        """See `Folder.lock`."""
        if not locks.AMONG_PROCESSES:
            with locks.exclusively():
                yield
            return
        self._check()
        fd = os.open(self._path, os.O_RDONLY)
        try:
            with locks.held(fd, must=must):
                yield
        finally:
            os.close(fd)

    def identity(self) -> tuple[int, int]:
        """See `Folder.identity`."""
        described = self._path.lstat()
        return described.st_dev, described.st_ino

    def unlink(self, name: str) -> None:
        """See `Folder.unlink`."""
        self._at(name).unlink()

    def rmdir(self, name: str) -> None:
        """See `Folder.rmdir`."""
        self._at(name).rmdir()

    def sync(self) -> None:
        """See `Folder.sync`. Windows opens no folders; there the entries reach the disk in their own time."""
        with suppress(PermissionError):
            fd = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        """See `Folder.close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _at(self, name: str) -> Path:
        self._check()
        return self._path / name

    def _check(self) -> None:
        # realpath follows links and Windows' junctions alike: where it differs, one stands in the way.
        if os.path.normcase(os.path.realpath(self._path)) != os.path.normcase(self._path):
            raise OSError(errno.ELOOP, "a link stands in the way")
        if not stat.S_ISDIR(self._path.lstat().st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def open_root(path: str, *, create: bool) -> Checked:
    """Open the root. It may be reached through links: where it lies is its owner's choice."""
    if create:
        make_folders(path)
    return Checked(Path(os.path.realpath(path)))
