"""Finds and reads single files below a root: regular ones alone, reached through no link."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Sequence
from typing import Final

from llmcore_storage_fs import hollow
from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.listing import known_as

__all__ = [
    "MAX_FILE_BYTES", "NotAFile", "check_target", "describe", "etag", "make_way", "opened", "read", "standing", "walk",
]  # fmt: skip

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
    """What stands there is no regular file of exactly that name: with EISDIR a folder, else something stranger."""


def walk(root: Folder, parts: Sequence[str], *, create: bool) -> Folder:
    """Return the folder of *parts* below *root*, which is closed.

    Raises:
        OSError: There is no such folder, or something else stands there.
    """
    folder = root
    for part in parts:
        with folder:
            try:
                deeper = folder.child(part, create=create)
            except OSError as error:
                if create or error.errno not in (errno.ENOTDIR, errno.ELOOP) or not _is_file(folder, part):
                    raise
                missing = True
            else:
                missing = False
            if missing:  # below a file there is nothing, and that is all
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
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


def standing(folder: Folder, name: str) -> os.stat_result | None:
    """Return what is known of the file, or None where one may be made: nothing is there, or folders without a file.

    Raises:
        NotAFile: There is something else.
    """
    try:
        return describe(folder, name)
    except FileNotFoundError:
        return None
    except NotAFile as error:
        if error.errno != errno.EISDIR or not hollow.is_hollow(folder, name):
            raise
    return None


def check_target(folder: Folder, name: str) -> None:
    """Check that a file may be put under *name*.

    Raises:
        NotAFile: There is something else than a file or folders without one.
    """
    standing(folder, name)


def make_way(folder: Folder, name: str) -> None:
    """Check it once more, with *folder* locked, and remove folders without a file.

    Raises:
        NotAFile: There is something else.
    """
    try:
        describe(folder, name)
    except FileNotFoundError:
        return
    except NotAFile as error:
        if error.errno != errno.EISDIR or not hollow.remove(folder, name):
            raise


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
    raise NotAFile(errno.EISDIR if kind == _KINDS[0][1] else errno.EINVAL, f"{kind} stands there")


def _is_file(folder: Folder, name: str) -> bool:
    try:
        return stat.S_ISREG(folder.stat(name).st_mode)
    except OSError:
        return False


def _check_name(folder: Folder, name: str, described: os.stat_result) -> None:
    known = known_as(folder, name, described)
    if known != name:
        raise NotAFile(errno.EEXIST, f"this file system takes {name!a} for {known!a}, which is another key")
