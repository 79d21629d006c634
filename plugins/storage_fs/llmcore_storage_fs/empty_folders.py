"""Folders without files, which remain after deletes. Saving a file under the name of such a folder removes the folder."""

from __future__ import annotations

import errno
from contextlib import suppress

from llmcore.support.storage_keys import MAX_PARTS
from llmcore_storage_fs.folders import Folder

__all__ = ["has_no_files", "remove"]

_FILLED = frozenset({errno.ENOTEMPTY, errno.EEXIST})


def has_no_files(folder: Folder, name: str, depth: int = MAX_PARTS) -> bool:
    """Return whether the folder *name* contains only folders, at any depth.

    A temporary file counts as a file because its writer needs the folder.
    """
    with suppress(FileNotFoundError), folder.open_child(name, create=False) as deeper:
        return all(
            entry.is_dir(follow_symlinks=False) and depth > 0 and has_no_files(deeper, entry.name, depth - 1)
            for entry in list(deeper.scan())
        )
    return True  # another process removed the folder


def remove(folder: Folder, name: str, depth: int = MAX_PARTS) -> bool:
    """Remove the folder *name* and all folders below it. Return whether the folder is gone.

    `rmdir` fails on a folder with files, so a file that another process creates at the same time is never lost.
    """
    try:
        with folder.open_child(name, create=False) as deeper:
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
