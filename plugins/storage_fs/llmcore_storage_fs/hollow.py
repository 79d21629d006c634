"""Folders in which no file is: what deletes leave behind, and what makes way where a file is to stand."""

from __future__ import annotations

import errno
from contextlib import suppress

from llmcore.contracts.storage_keys import MAX_PARTS
from llmcore_storage_fs.folders import Folder

__all__ = ["is_hollow", "remove"]

_FILLED = frozenset({errno.ENOTEMPTY, errno.EEXIST})


def is_hollow(folder: Folder, name: str, depth: int = MAX_PARTS) -> bool:
    """Return whether in the folder *name* and below it there is nothing but folders.

    A file that is being written counts: its writer is at work there.
    """
    with suppress(FileNotFoundError), folder.child(name, create=False) as deeper:
        return all(
            entry.is_dir(follow_symlinks=False) and depth > 0 and is_hollow(deeper, entry.name, depth - 1)
            for entry in list(deeper.scan())
        )
    return True  # somebody else has removed it


def remove(folder: Folder, name: str, depth: int = MAX_PARTS) -> bool:
    """Remove the folder *name* and those below it; return whether it is gone.

    Each is removed by the system's own step, which fails where something is in it: no file is ever lost, however late
    it came.
    """
    try:
        with folder.child(name, create=False) as deeper:
            for entry in list(deeper.scan()):
                below = entry.is_dir(follow_symlinks=False) and depth > 0
                if not (below and remove(deeper, entry.name, depth - 1)):
                    return False
        folder.rmdir(name)
    except OSError as error:
        if error.errno in _FILLED:
            return False
        if error.errno != errno.ENOENT:
            raise
    return True
