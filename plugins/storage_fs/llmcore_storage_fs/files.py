"""Find and read single files below a root. Only regular files are read, and links are never followed."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Sequence
from typing import Final

from llmcore.support.storage_arguments import MAX_FILE_BYTES
from llmcore_storage_fs import empty_folders
from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.listing import find_real_name

__all__ = [
    "NotAFile",
    "check_target",
    "clear_target",
    "describe",
    "describe_or_none",
    "make_etag",
    "open_file",
    "read",
    "walk",
]  # fmt: skip

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFile(OSError):
    """The path is not a regular file with exactly this name. `errno` is EISDIR if the path is a folder."""


def walk(root: Folder, parts: Sequence[str], *, create: bool) -> Folder:
    """Return the folder *parts* below *root*. Close *root*.

    Raises:
        OSError: The folder does not exist, or the path is not a folder.
    """
    folder = root
    for part in parts:
        with folder:
            try:
                deeper = folder.open_child(part, create=create)
            except OSError as error:
                if create or error.errno not in (errno.ENOTDIR, errno.ELOOP) or not _is_file(folder, part):
                    raise
                missing = True
            else:
                missing = False
            if missing:  # a path below a file cannot exist
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            try:
                _check_name(folder, part, folder.stat(part))
            except BaseException:
                deeper.close()
                raise
        folder = deeper
    return folder


def describe(folder: Folder, name: str) -> os.stat_result:
    """Return the file's status.

    Raises:
        FileNotFoundError: The name does not exist.
        NotAFile: The name is not a regular file.
    """
    described = folder.stat(name)
    _check_kind(described)
    _check_name(folder, name, described)
    return described


def describe_or_none(folder: Folder, name: str) -> os.stat_result | None:
    """Return the file's status, or None if `save` may create the file.

    Raises:
        NotAFile: The name is a link, a device, or a folder that contains files.
    """
    try:
        return describe(folder, name)
    except FileNotFoundError:
        return None
    except NotAFile as error:
        if error.errno != errno.EISDIR or not empty_folders.has_no_files(folder, name):
            raise
    return None


def check_target(folder: Folder, name: str) -> None:
    """Check that `save` may write to *name*. A folder without files does not block the name.

    Raises:
        NotAFile: The name is a link, a device, or a folder that contains files.
    """
    describe_or_none(folder, name)


def clear_target(folder: Folder, name: str) -> None:
    """Repeat the check of `check_target`, and delete a folder without files. The caller has locked *folder*.

    Raises:
        NotAFile: The name is a link, a device, or a folder that contains files.
    """
    try:
        describe(folder, name)
    except FileNotFoundError:
        return
    except NotAFile as error:
        if error.errno != errno.EISDIR or not empty_folders.remove(folder, name):
            raise


def open_file(folder: Folder, name: str) -> io.FileIO:
    """Open the file for reading.

    Raises:
        FileNotFoundError: The name does not exist.
        NotAFile: The name is not a regular file.
    """
    describe(folder, name)  # before opening: opening a device may have side effects
    file = io.FileIO(folder.open(name, os.O_RDONLY), closefd=True)
    try:
        _check_kind(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def read(folder: Folder, name: str) -> tuple[bytes, os.stat_result]:
    """Return the file's bytes and the status of that version.

    Raises:
        FileNotFoundError: The name does not exist.
        NotAFile: The name is not a regular file.
        OSError: EFBIG if the file is larger than `MAX_FILE_BYTES`.
    """
    with open_file(folder, name) as file:
        described = os.fstat(file.fileno())
        if described.st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, f"{described.st_size} bytes")
        return file.readall(), described


def make_etag(described: os.stat_result) -> str:
    """Return the ETag of a version of a file. It is unique, because each save creates a new inode with a new time."""
    return f"{described.st_mtime_ns:x}-{described.st_ino:x}-{described.st_size:x}"


def _check_kind(described: os.stat_result) -> None:
    if stat.S_ISREG(described.st_mode):
        return
    kind = next((words for test, words in _KINDS if test(described.st_mode)), "something else")
    raise NotAFile(errno.EISDIR if kind == _KINDS[0][1] else errno.EINVAL, f"the path is {kind}")


def _is_file(folder: Folder, name: str) -> bool:
    try:
        return stat.S_ISREG(folder.stat(name).st_mode)
    except OSError:
        return False


def _check_name(folder: Folder, name: str, described: os.stat_result) -> None:
    known = find_real_name(folder, name, described)
    if known != name:
        raise NotAFile(errno.EEXIST, f"this file system treats {name!a} and {known!a} as the same name")
