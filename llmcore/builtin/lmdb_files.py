"""Open and close the folder of a file cache: permissions, crash mark, and recovery from damage."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any, Final

import lmdb  # noqa: TID253 - loaded only when a file cache is made

from llmcore.builtin.crash_mark import CrashMark, get_boot_id, lock_folder
from llmcore.builtin.data_file import DATA, find_fault, set_aside
from llmcore.errors import CacheError
from llmcore.log import get_logger

__all__ = ["DAMAGE", "CacheFolderError", "OpenFile", "open_folder", "set_aside_and_log"]


DAMAGE: Final = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)
"""The errors of LMDB for a damaged file."""
_CLOSED_TO_US: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ELOOP}
)
_FIRST_MAP: Final = 64 * 2**20
_MAX_READERS: Final = 1022


class CacheFolderError(CacheError):
    """The folder cannot be used. Another attempt will fail too."""


class OpenFile:
    """An open environment and its crash mark."""

    def __init__(self, folder: Path, env: Any, mark: CrashMark) -> None:
        self.env = env
        self._folder = folder
        self._mark = mark
        self._is_marked = False

    def mark_writing(self) -> None:
        """Record, before the first write, that the file on disk is not synced."""
        if not self._is_marked:
            self._mark.mark_open()
            self._is_marked = True

    def close(self) -> None:
        """Close the file. Sync the file first if it was written and no other process uses it."""
        with contextlib.suppress(OSError, lmdb.Error), lock_folder(self._folder):
            if self._mark.is_last() and self._mark.is_sync_needed():
                self.env.sync(True)  # noqa: FBT003 - LMDB's own positional argument
                self._mark.mark_clean()
        self.env.close()
        self._mark.release()

    def abandon(self, *, close: bool) -> None:
        """Release the file in a forked child.

        If the environment was in use during the fork, do not close it.
        """
        self._mark.release()
        if close:
            self.env.close()


def open_folder(folder: Path, map_limit: int) -> OpenFile:
    """Open the data in *folder*. Create a missing folder with mode 0700. Rename a damaged file.

    Raises:
        CacheError: The folder cannot be used.
    """
    kind = CacheError
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_folder(folder):
            return _open(folder, map_limit)
    except OSError as error:
        problem = error.strerror or str(error)
        if error.errno in _CLOSED_TO_US:
            kind = CacheFolderError
    except lmdb.Error as error:
        problem = str(error)
    raise kind(
        f"the cache cannot use the folder {folder}: {problem}",
        where=str(folder),
        expected="a folder on a local disk that may be read and written",
        fix="llmcore config set cache.provider memory",
        notes=["`cache_dir` in [cache.file] chooses another folder"],
    )


def set_aside_and_log(folder: Path, fault: str) -> None:
    """Set the data file aside and log a warning."""
    try:
        aside = set_aside(folder)
    except FileNotFoundError:
        return  # another process has already set the file aside
    get_logger(__name__).warning(
        "the cache file in %s was set aside as %s (%s); a new, empty file is used",
        folder,
        aside.name,
        fault,
    )


def _open(folder: Path, map_limit: int) -> OpenFile:
    mark = CrashMark(folder, get_boot_id())
    try:
        fault = find_fault(folder) if mark.is_trusted() else "the machine stopped before the file was synced"
        if fault is not None:
            set_aside_and_log(folder, fault)
            mark.mark_clean()
        try:
            env = _open_lmdb(folder, map_limit)
        except DAMAGE as error:
            set_aside_and_log(folder, str(error))
            env = _open_lmdb(folder, map_limit)
    except BaseException:
        mark.release()
        raise
    return OpenFile(folder, env, mark)


def _open_lmdb(folder: Path, map_limit: int) -> Any:
    size = 0
    with contextlib.suppress(FileNotFoundError):
        size = (folder / DATA).stat().st_size
    # Without sync, a killed process does not damage the file: LMDB writes a page before the pages that refer
    # to it, and the kernel keeps what was written. Only a power cut may damage the file. The crash mark
    # detects this damage.
    return lmdb.open(
        os.fspath(folder),
        # Map twice the size, so that remapping is rare. LMDB uses a larger map if the data needs one.
        map_size=min(max(_FIRST_MAP, 2 * size), map_limit),
        sync=False,
        mode=0o600,
        max_readers=_MAX_READERS,
    )
