"""Opens and closes the folder of a file cache: its rights, its crash mark, and what to do about damage."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any, Final

import lmdb  # noqa: TID253 - loaded only when a file cache is made

from llmcore.builtin.crashmark import CrashMark, boot_id, one_at_a_time
from llmcore.builtin.datafile import DATA, fault_of, set_aside
from llmcore.errors import CacheError

__all__ = ["DAMAGE", "Opened", "open_folder", "put_aside"]

log = logging.getLogger(__name__)

DAMAGE: Final = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)
"""What LMDB says of a file that it cannot read."""
_FIRST_MAP: Final = 64 * 2**20
_MAX_READERS: Final = 1022


class Opened:
    """An open environment and the mark that says so."""

    def __init__(self, folder: Path, env: Any, mark: CrashMark) -> None:
        self.env = env
        self._folder = folder
        self._mark = mark
        self._is_marked = False

    def mark_writing(self) -> None:
        """Say, before the first write, that what lies on the disk is not whole."""
        if not self._is_marked:
            self._mark.writing()
            self._is_marked = True

    def close(self) -> None:
        """Sync, where nobody else has the file open and somebody wrote; then let go of it."""
        with contextlib.suppress(OSError, lmdb.Error), one_at_a_time(self._folder):
            if self._mark.is_last() and self._mark.needs_sync():
                self.env.sync(True)  # noqa: FBT003 - LMDB's own positional argument
                self._mark.synced()
        self.env.close()
        self._mark.release()

    def abandon(self, *, close: bool) -> None:
        """Let go in a forked child, where the parent goes on. What was forked at work is left to leak."""
        self._mark.release()
        if close:
            self.env.close()


def open_folder(folder: Path, map_limit: int) -> Opened:
    """Open the data in *folder*, made if need be for its owner alone; set aside what cannot be trusted.

    Raises:
        CacheError: The folder cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with one_at_a_time(folder):
            return _open(folder, map_limit)
    except OSError as error:
        problem = error.strerror or str(error)
    except lmdb.Error as error:
        problem = str(error)
    raise CacheError(
        f"the cache cannot use the folder {folder}: {problem}",
        where=str(folder),
        expected="a folder on a local disk that may be read and written",
        fix="llmcore config set cache.provider memory",
        notes=["`cache_dir` in [cache.file] chooses another folder"],
    )


def put_aside(folder: Path, fault: str) -> None:
    """Set the data file aside and say so once."""
    try:
        aside = set_aside(folder)
    except FileNotFoundError:
        return  # another process was here before
    log.warning(
        "the cache file in %s was set aside as %s (%s); an empty one begins", folder, aside.name, fault
    )


def _open(folder: Path, map_limit: int) -> Opened:
    mark = CrashMark(folder, boot_id())
    try:
        fault = fault_of(folder) if mark.is_trusted() else "the machine stopped before it was saved"
        if fault is not None:
            put_aside(folder, fault)
            mark.synced()
        try:
            env = _lmdb(folder, map_limit)
        except DAMAGE as error:
            put_aside(folder, str(error))
            env = _lmdb(folder, map_limit)
    except BaseException:
        mark.release()
        raise
    return Opened(folder, env, mark)


def _lmdb(folder: Path, map_limit: int) -> Any:
    size = 0
    with contextlib.suppress(FileNotFoundError):
        size = (folder / DATA).stat().st_size
    # A process that dies leaves the file whole without sync: pages are written before the page that names them,
    # and the kernel keeps both. What a power cut may undo, the crash mark tells.
    return lmdb.open(
        os.fspath(folder),
        # Room to double, so that few processes ever have to remap; LMDB takes what is in use where that is more.
        map_size=min(max(_FIRST_MAP, 2 * size), map_limit),
        sync=False,
        mode=0o600,
        max_readers=_MAX_READERS,
    )
