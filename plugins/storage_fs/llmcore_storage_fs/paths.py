"""Open folders by path on systems without descriptors of folders, such as Windows.

Each operation resolves the path and rejects links first. A race remains: between the check and the operation, a user
with write access to the root can replace a folder with a link.
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

__all__ = ["CheckedFolder", "open_root"]

_FILE: Final = (
    getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
_TRIES: Final = 100


class CheckedFolder:
    """A folder that checks its path for links before each operation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._check()

    def open_child(self, name: str, *, create: bool) -> CheckedFolder:
        """See `Folder.child`."""
        path = self._get_path(name)
        if create:
            with suppress(FileExistsError):
                path.mkdir(0o700)
        return CheckedFolder(path)

    def open(self, name: str, flags: int) -> int:
        """See `Folder.open`."""
        path = self._get_path(name)
        if flags & os.O_EXCL:
            return os.open(path, flags | _FILE, 0o600)
        for _ in range(_TRIES):
            before = path.lstat()
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ELOOP, "not a regular file")
            fd = os.open(path, flags | _FILE)
            if os.path.samestat(before, os.fstat(fd)):
                return fd
            os.close(fd)  # another process replaced the file between the two calls
        raise OSError(errno.ELOOP, "another process repeatedly replaces the file")

    def stat(self, name: str) -> os.stat_result:
        """See `Folder.stat`."""
        return self._get_path(name).lstat()

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """See `Folder.scan`."""
        self._check()
        with os.scandir(self._path) as entries:
            yield from entries

    def rename(self, old: str, new: str, into: CheckedFolder | None = None) -> None:
        """See `Folder.rename`."""
        self._get_path(old).replace((into or self)._get_path(new))  # noqa: SLF001 - a method of the same class

    @contextmanager
    def lock(self, *, must: bool = False) -> Iterator[None]:
        """See `Folder.lock`."""
        if not locks.AMONG_PROCESSES:
            with locks.lock_threads():
                yield
            return
        self._check()
        fd = os.open(self._path, os.O_RDONLY)
        try:
            with locks.hold_lock(fd, must=must):
                yield
        finally:
            os.close(fd)

    def get_identity(self) -> tuple[int, int]:
        """See `Folder.identity`."""
        described = self._path.lstat()
        return described.st_dev, described.st_ino

    def unlink(self, name: str) -> None:
        """See `Folder.unlink`."""
        self._get_path(name).unlink()

    def rmdir(self, name: str) -> None:
        """See `Folder.rmdir`."""
        self._get_path(name).rmdir()

    def sync(self) -> None:
        """See `Folder.sync`. This method has no effect on Windows, which cannot open folders."""
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

    def _get_path(self, name: str) -> Path:
        self._check()
        return self._path / name

    def _check(self) -> None:
        # realpath resolves links and Windows junctions, so a difference means that the path contains one.
        if os.path.normcase(os.path.realpath(self._path)) != os.path.normcase(self._path):
            raise OSError(errno.ELOOP, "the path contains a link")
        if not stat.S_ISDIR(self._path.lstat().st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def open_root(path: str, *, create: bool) -> CheckedFolder:
    """Open the root folder. The root's own path may contain links."""
    if create:
        make_folders(path)
    return CheckedFolder(Path(os.path.realpath(path)))
