"""Opens folders part by part through descriptors, so that no link is ever followed below the root."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from llmcore_storage_fs import locks

__all__ = ["SUPPORTED", "Descriptor", "Folder", "make_folders", "open_root"]

SUPPORTED: Final = (
    {os.open, os.mkdir, os.rmdir, os.stat, os.unlink, os.rename} <= os.supports_dir_fd
    and os.scandir in os.supports_fd
    and hasattr(os, "O_NOFOLLOW")
    and hasattr(os, "O_DIRECTORY")
)
"""Whether this system can do it. Where not, `llmcore_storage_fs.paths` stands in."""

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_FILE: Final = _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""A pipe must not make anybody wait, a terminal must not become ours."""


class Folder(Protocol):
    """One open folder; names are single parts, and no link is followed."""

    def child(self, name: str, *, create: bool) -> Folder:
        """Open the folder *name* in this one, made first if *create* and there is none."""
        ...

    def open(self, name: str, flags: int) -> int:
        """Return a descriptor of the file; one that is created gets the mode 0600."""
        ...

    def stat(self, name: str) -> os.stat_result:
        """Describe what stands under *name*: a link itself, not where it leads."""
        ...

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """Yield what is in the folder."""
        ...

    def rename(self, old: str, new: str, into: Any = None) -> None:
        """Put the file *old* in place of *new*, here or in the folder *into* of the same kind, in one step."""
        ...

    def lock(self, *, must: bool = False) -> AbstractContextManager[None]:
        """Keep others from renaming and removing here meanwhile; see `locks.held`."""
        ...

    def identity(self) -> tuple[int, int]:
        """Return what tells this folder from every other."""
        ...

    def unlink(self, name: str) -> None:
        """Remove the file."""
        ...

    def rmdir(self, name: str) -> None:
        """Remove the folder *name*, which must be empty."""
        ...

    def sync(self) -> None:
        """Bring the folder's entries to the disk."""
        ...

    def close(self) -> None:
        """Close it; harmless when done twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Descriptor:
    """A folder held by its descriptor: what happens to its path meanwhile does not matter."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def child(self, name: str, *, create: bool) -> Descriptor:
        """See `Folder.child`."""
        made = False
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._fd)
                made = True
        deeper = Descriptor(os.open(name, _FOLDER | _NOFOLLOW, dir_fd=self._fd))
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

    def rename(self, old: str, new: str, into: Descriptor | None = None) -> None:
        """See `Folder.rename`."""
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=(into or self)._fd)  # noqa: SLF001 - one of its own kind

    def lock(self, *, must: bool = False) -> AbstractContextManager[None]:
        """See `Folder.lock`."""
        return locks.held(self._fd, must=must)

    def identity(self) -> tuple[int, int]:
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
            # Some file systems cannot do it for a folder, and say so.
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


def open_root(path: str, *, create: bool) -> Descriptor:
    """Open the root. It may be reached through links: where it lies is its owner's choice."""
    if create:
        make_folders(path)
    return Descriptor(os.open(path, _FOLDER))


def make_folders(path: str) -> None:
    """Make the folder and those above it, for their owner alone."""
    folder = Path(path)
    missing = [above for above in (folder, *folder.parents) if not above.is_dir()]
    for new in reversed(missing):
        with suppress(FileExistsError):
            new.mkdir(0o700)
        with suppress(OSError), Descriptor(os.open(new.parent, _FOLDER)) as above:
            above.sync()
