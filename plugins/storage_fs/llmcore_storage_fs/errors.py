"""Translate errors of the operating system into llmcore's errors. The original error is not chained."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Sequence
from typing import Final

from llmcore.errors import (
    StorageChanged,
    StorageError,
    StorageExists,
    StorageFull,
    StorageKeyError,
    StorageNotFound,
    StorageReadOnly,
)

__all__ = [
    "DENIED",
    "ListingError",
    "RootError",
    "is_absent",
    "make_changed_error",
    "make_exists_error",
    "make_unencodable_error",
    "make_unstable_error",
    "translate_error",
]

DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LOCKS: Final = frozenset({errno.EAGAIN, errno.ENOLCK})
_NO_FILE: Final = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EILSEQ, errno.ENXIO, errno.EEXIST, errno.EINVAL}
)  # fmt: skip
_NO_FILE_TO_READ: Final = frozenset({errno.ENOENT, errno.EISDIR})
"""The errno values that mean "no such file" on reading. EISDIR is included because a folder is not a file."""
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class ListingError(OSError):
    """A subfolder cannot be listed. `filename` is the key of the subfolder."""


class RootError(OSError):
    """The root folder cannot be used."""


def is_absent(error: OSError) -> bool:
    """Return whether *error* means that the file does not exist. An error of the root folder does not mean this."""
    return error.errno in _ABSENT and not isinstance(error, RootError)


def translate_error(error: OSError, key: str, root: str, *, writing: bool) -> StorageError:
    """Return llmcore's error for *error*, raised while *key* was read or written."""
    if isinstance(error, RootError):
        return _describe_root_error(error, root, writing=writing)
    number, where = error.errno, f"{root}/{error.filename if isinstance(error, ListingError) else key}"
    if number in _NO_FILE_TO_READ and not writing:
        return StorageNotFound(
            f"nothing is stored under {key!a}",
            where=where,
            expected="a key that was saved before",
            fix="list_files() returns the existing keys",
        )
    if number in _NO_FILE:
        return StorageKeyError(
            f"the key {key!a} cannot be used: {_format_error(error)}",
            where=where,
            expected="a path of folders to a regular file; a link, device, pipe or socket is not allowed",
            fix="choose another key, or remove the entry at this path",
        )
    if number == errno.EFBIG and not writing:
        return StorageError(
            f"the file is too large for load(): {error.strerror}",
            where=where,
            expected="a file of at most 4 GiB",
            fix="use load_stream(), which reads in pieces",
        )
    return _describe_error(error, where, writing=writing)


def make_unencodable_error(key: str, root: str) -> StorageKeyError:
    """Return the error for a key that this system cannot encode as a file name."""
    return StorageKeyError(
        f"the key {key!a} cannot be encoded as a file name on this system",
        where=root,
        expected="characters that the file system encoding can represent",
        fix="export PYTHONUTF8=1",
    )


def make_exists_error(parts: Sequence[str]) -> StorageExists:
    """Return the error for a conditional save of a key that exists."""
    return StorageExists(
        f"a file is already stored under {'/'.join(parts)!a}",
        expected="a key under which no file is stored",
        fix="choose another key, or use save(), which replaces the file",
    )


def make_changed_error(parts: Sequence[str], *, there: bool) -> StorageChanged:
    """Return the error for a conditional save whose ETag does not match the stored file."""
    what = "another version" if there else "nothing"
    return StorageChanged(
        f"{what} is stored under {'/'.join(parts)!a}",
        expected="the version that has the given ETag",
        fix="call load_with_etag() again, and retry with the new version",
    )


def make_unstable_error(key: str, root: str) -> StorageError:
    """Return the error for a path that other processes repeatedly delete and create."""
    return StorageError(
        f"other processes repeatedly delete and create {key!a}",
        where=f"{root}/{key}",
        expected="a path that stays unchanged during the operation",
        fix="stop the processes that delete it",
    )


def _describe_root_error(error: OSError, root: str, *, writing: bool) -> StorageError:
    if error.errno == errno.ENOENT:
        return StorageError(
            "the root folder of the storage was deleted or unmounted while this process was running",
            where=root,
            expected="the folder with the saved files; llmcore does not replace it with a new, empty folder",
            fix=f"mkdir -p {shlex.quote(root)}",
            notes=("if the folder is on an unmounted disk, mount the disk",),
        )
    if error.errno in _NO_FILE:
        return StorageError(
            f"the root path of the storage is not a folder: {_format_error(error)}",
            where=root,
            expected="a folder, or a path where a folder can be created",
            fix=f"llmcore config set storage.fs.root {_find_other_root(root)}",
        )
    return _describe_error(error, root, writing=writing)


def _find_other_root(root: str) -> str:
    """Return a path that differs from *root*, for the suggested fix."""
    return "./storage" if root.endswith("data") else "./data"


def _describe_error(error: OSError, where: str, *, writing: bool) -> StorageError:
    number = error.errno
    if number in _FULL:
        return StorageFull(
            f"the file system is full: {_format_error(error)}; an existing file is unchanged",
            where=where,
            expected="free space within the quota and the file size limit",
            fix="free some space, or set storage.fs.root to a folder on another disk",
        )
    if number in DENIED and writing:
        return StorageReadOnly(
            f"writing to the storage is not permitted: {_format_error(error)}",
            where=where,
            expected="a folder that this user may write to",
            fix="give the user write permission, or set storage.fs.root to another folder",
        )
    if number in DENIED:
        return StorageError(
            f"reading from the storage is not permitted: {_format_error(error)}",
            where=where,
            expected="a folder and files that this user may read",
            fix="give the user read permission",
        )
    if number in _LOCKS:
        return StorageError(
            f"the folder cannot be locked: {_format_error(error)}",
            where=where,
            expected="a file system that supports flock, and no suspended process that holds a lock",
            fix="end the process that holds the lock, or set storage.fs.root to a folder on a local disk",
        )
    return StorageError(
        f"the storage failed: {_format_error(error)}",
        where=where,
        expected="a working file system",
        fix="`llmcore doctor` checks the storage"
        if number not in (errno.EMFILE, errno.ENFILE)
        else "ulimit -n 4096",
    )


def _format_error(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "")
    text = error.strerror or type(error).__name__
    return f"{text} ({name})" if name else text
