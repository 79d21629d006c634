"""Finds and reads single files below a root: regular ones alone, reached through no link."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Sequence
from typing import Final

from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.listing import known_as

__all__ = ["MAX_FILE_BYTES", "NotAFile", "check_target", "describe", "etag", "opened", "read", "walk"]

MAX_FILE_BYTES: Final = 4 << 30
"""What is saved and loaded in one piece; a file of ten gigabytes would take all the memory of the machine."""

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFile(OSError):
    """What stands there is no regular file of exactly that name."""


def walk(root: Folder, parts: Sequence[str], *, create: bool) -> Folder:
    """Return the folder of *parts* below *root*, which is closed.

    Raises:
        OSError: There is no such folder, or something else stands there.
    """
    folder = root
    for part in parts:
        with folder:
            deeper = folder.child(part, create=create)
            try:
                _check_name(folder, part, folder.stat(part))
            except BaseException:
                deeper.close()
                raise
        folder = deeper
    return folder


def describe(folder: Folder, name: str) -> os.stat_result:
    """Return what is known of the file.

    Raises:
        FileNotFoundError: There is nothing.
        NotAFile: There is something else.
    """
    described = folder.stat(name)
    _check_kind(described)
    _check_name(folder, name, described)
    return described


def check_target(folder: Folder, name: str) -> None:
    """Check that a file may be put under *name*: there is nothing yet, or a file.

    Raises:
        NotAFile: There is something else.
    """
    try:
        describe(folder, name)
    except FileNotFoundError:
        return


def opened(folder: Folder, name: str) -> io.FileIO:
    """Open the file for reading.

    Raises:
        FileNotFoundError: There is nothing.
        NotAFile: There is something else.
    """
    describe(folder, name)  # first, since even to open a device may do something
    file = io.FileIO(folder.open(name, os.O_RDONLY), closefd=True)
    try:
        _check_kind(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def read(folder: Folder, name: str) -> tuple[bytes, os.stat_result]:
    """Return the bytes of the file, and what describes exactly those.

    Raises:
        FileNotFoundError: There is nothing.
        NotAFile: There is something else.
        OSError: With EFBIG, it is larger than `MAX_FILE_BYTES`.
    """
    with opened(folder, name) as file:
        described = os.fstat(file.fileno())
        if described.st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, f"{described.st_size} bytes")
        return file.readall(), described


def etag(described: os.stat_result) -> str:
    """Return what names this version of a file: each save makes a file of its own, at a time of its own."""
    return f"{described.st_mtime_ns:x}-{described.st_ino:x}-{described.st_size:x}"


def _check_kind(described: os.stat_result) -> None:
    if stat.S_ISREG(described.st_mode):
        return
    kind = next((words for test, words in _KINDS if test(described.st_mode)), "something else")
    raise NotAFile(errno.EISDIR, f"{kind} stands there")


def _check_name(folder: Folder, name: str, described: os.stat_result) -> None:
    known = known_as(folder, name, described)
    if known != name:
        raise NotAFile(errno.EEXIST, f"this file system takes {name!a} for {known!a}, which is another key")
