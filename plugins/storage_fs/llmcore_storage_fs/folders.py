"""Open folders through descriptors, one path component at a time, so that links below the root are never followed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from llmcore_storage_fs import locks

__all__ = ["SUPPORTED", "DescriptorFolder", "Folder", "make_folders", "open_root"]

SUPPORTED: Final = (
    {os.open, os.mkdir, os.rmdir, os.stat, os.unlink, os.rename} <= os.supports_dir_fd
    and os.scandir in os.supports_fd
    and hasattr(os, "O_NOFOLLOW")
    and hasattr(os, "O_DIRECTORY")
)
"""True if this system supports descriptors of folders. Otherwise `llmcore_storage_fs.paths` is used."""

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_FILE: Final = _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Flags for opening files: a pipe must not block, and a terminal must not become the controlling terminal."""


class Folder(Protocol):
    """An open folder. Names are single path components, and links are not followed."""

    def open_child(self, name: str, *, create: bool) -> Folder:
        """Open the subfolder *name*. With *create*, create a missing subfolder."""
        ...

    def open(self, name: str, flags: int) -> int:
        """Open the file *name* and return a descriptor. A new file has mode 0600."""
        ...

    def stat(self, name: str) -> os.stat_result:
        """Return the status of *name*. For a link, return the status of the link."""
        ...

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """Yield the entries of the folder."""
        ...

    def rename(self, old: str, new: str, into: Any = None) -> None:
        """Rename the file *old* to *new* atomically. *into* is the target folder; None means this folder."""
        ...

    def lock(self, *, must: bool = False) -> AbstractContextManager[None]:
        """Lock the folder against renames and deletes by other writers; see `locks.hold_lock`."""
        ...

    def get_identity(self) -> tuple[int, int]:
        """Return the device and inode of the folder."""
        ...

    def unlink(self, name: str) -> None:
        """Delete the file."""
        ...

    def rmdir(self, name: str) -> None:
        """Delete the empty folder *name*."""
        ...

    def sync(self) -> None:
        """Flush the folder's entries to the disk."""
        ...

    def close(self) -> None:
        """Close the folder. A second call has no effect."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class DescriptorFolder:
    """A folder that is open as a descriptor. A rename of the folder's path does not affect the descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def open_child(self, name: str, *, create: bool) -> DescriptorFolder:
        """See `Folder.child`."""
        made = False
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._fd)
                made = True
        deeper = DescriptorFolder(os.open(name, _FOLDER | _NOFOLLOW, dir_fd=self._fd))
        if made:
            try:
                self.sync()
            except BaseException:
                deeper.close()
                raise
        return deeper

    def open(self, name: str, flags: int) -> int:
        """See `Folder.open`."""
        return os.open(name, flags | _FILE, 0o600, dir_fd=self._fd)

    def stat(self, name: str) -> os.stat_result:
        """See `Folder.stat`."""
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False)

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """See `Folder.scan`."""
        with os.scandir(self._fd) as entries:
            yield from entries

    def rename(self, old: str, new: str, into: DescriptorFolder | None = None) -> None:
        """See `Folder.rename`."""
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=(into or self)._fd)  # noqa: SLF001 - the same class

    def lock(self, *, must: bool = False) -> AbstractContextManager[None]:
        """See `Folder.lock`."""
        return locks.hold_lock(self._fd, must=must)

    def get_identity(self) -> tuple[int, int]:
        """See `Folder.identity`."""
        described = os.fstat(self._fd)
        return described.st_dev, described.st_ino

    def unlink(self, name: str) -> None:
        """See `Folder.unlink`."""
        os.unlink(name, dir_fd=self._fd)

    def rmdir(self, name: str) -> None:
        """See `Folder.rmdir`."""
        os.rmdir(name, dir_fd=self._fd)

    def sync(self) -> None:
        """See `Folder.sync`."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            # Some file systems do not support fsync of a folder.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise

    def close(self) -> None:
        """See `Folder.close`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_root(path: str, *, create: bool) -> DescriptorFolder:
    """Open the root folder. The root's own path may contain links."""
    if create:
        make_folders(path)
    return DescriptorFolder(os.open(path, _FOLDER))


def make_folders(path: str) -> None:
    """Create the folder and its parents with mode 0700."""
    folder = Path(path)
    missing = [above for above in (folder, *folder.parents) if not above.is_dir()]
    for new in reversed(missing):
        with suppress(FileExistsError):
            new.mkdir(0o700)
        with suppress(OSError), DescriptorFolder(os.open(new.parent, _FOLDER)) as above:
            above.sync()
