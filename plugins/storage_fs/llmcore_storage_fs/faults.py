"""Turns what the operating system raised into our errors, in words and without the original."""

from __future__ import annotations

import errno
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
    "InFolder",
    "RootError",
    "absent",
    "changed",
    "exists",
    "restless",
    "translate",
    "unwritable",
]

DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LOCKS: Final = frozenset({errno.EAGAIN, errno.ENOLCK})
_NO_FILE: Final = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EILSEQ, errno.ENXIO, errno.EEXIST, errno.EINVAL}
)  # fmt: skip
_NO_FILE_TO_READ: Final = frozenset({errno.ENOENT, errno.EISDIR})
"""A folder is no file, and is seen by nobody who asks for files."""
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class InFolder(OSError):
    """A folder that was come across, whose key is the `filename`, cannot be used."""


class RootError(OSError):
    """The root itself cannot be used."""


def absent(error: OSError) -> bool:
    """Return whether the error says that no file is there, though there may be a root."""
    return error.errno in _ABSENT and not isinstance(error, RootError)


def translate(error: OSError, key: str, root: str, *, writing: bool) -> StorageError:
    """Return our error for one that arose while the file of *key* was read or written."""
    if isinstance(error, RootError):
        return _of_root(error, root, writing=writing)
    number, where = error.errno, f"{root}/{error.filename if isinstance(error, InFolder) else key}"
    if number in _NO_FILE_TO_READ and not writing:
        return StorageNotFound(
            f"nothing is stored under {key!a}",
            where=where,
            expected="a key that was saved before",
            fix="list_files() tells which keys there are",
        )
    if number in _NO_FILE:
        return StorageKeyError(
            f"the key {key!a} cannot be used: {_words(error)}",
            where=where,
            expected="folders and a regular file of the storage's own, no link, device, pipe or socket",
            fix="choose another key, or remove what stands there",
        )
    if number == errno.EFBIG and not writing:
        return StorageError(
            f"the file is too large to be loaded in one piece: {error.strerror}",
            where=where,
            expected="a file that was saved here",
            fix="load_stream() reads it piece by piece",
        )
    return _general(error, where, writing=writing)


def unwritable(key: str, root: str) -> StorageKeyError:
    """Return the error for a key with characters that this system's file names cannot hold."""
    return StorageKeyError(
        f"the key {key!a} cannot be written in this system's encoding of file names",
        where=root,
        expected="characters of the encoding in use",
        fix="export PYTHONUTF8=1",
    )


def exists(parts: Sequence[str]) -> StorageExists:
    """Return the error for a key that was to be new."""
    return StorageExists(
        f"something is already stored under {'/'.join(parts)!a}",
        expected="a key under which nothing is stored",
        fix="choose another key, or save() to replace what is there",
    )


def changed(parts: Sequence[str], *, there: bool) -> StorageChanged:
    """Return the error for a file that is not the one with the expected etag."""
    what = "another version" if there else "nothing"
    return StorageChanged(
        f"{what} is stored under {'/'.join(parts)!a}",
        expected="the version with the etag that was given",
        fix="load_with_etag() again, and decide anew",
    )


def restless(key: str, root: str) -> StorageError:
    """Return the error for a file or folder that others take away and put back all the time."""
    return StorageError(
        f"what belongs to {key!a} is removed and made again all the time",
        where=f"{root}/{key}",
        expected="files that stay for a moment",
        fix="let the writers agree on who removes what",
    )


def _of_root(error: OSError, root: str, *, writing: bool) -> StorageError:
    if error.errno in _NO_FILE:
        return StorageError(
            f"the root of the storage is not a folder: {_words(error)}",
            where=root,
            expected="a folder, or a place where one can be made",
            fix="llmcore config set storage.fs.root ./data",
        )
    return _general(error, root, writing=writing)


def _general(error: OSError, where: str, *, writing: bool) -> StorageError:
    number = error.errno
    if number in _FULL:
        return StorageFull(
            f"the storage has no room: {_words(error)}; what was there before is untouched",
            where=where,
            expected="free space, quota and a limit of file sizes that let the file in",
            fix="free some space there, or set storage.fs.root to a folder on another disk",
        )
    if number in DENIED and writing:
        return StorageReadOnly(
            f"the storage may not be written: {_words(error)}",
            where=where,
            expected="a folder in which this user may write",
            fix="give the user the right to write there, or set storage.fs.root to another folder",
        )
    if number in DENIED:
        return StorageError(
            f"the storage may not be read: {_words(error)}",
            where=where,
            expected="a folder and files that this user may read",
            fix="give the user the right to read there",
        )
    if number in _LOCKS:
        return StorageError(
            f"the storage cannot be locked: {_words(error)}",
            where=where,
            expected="a file system with locks (flock), and no stopped process that holds one",
            fix="end the process that holds it, or set storage.fs.root to a folder on a local disk",
        )
    return StorageError(
        f"the storage failed: {_words(error)}",
        where=where,
        expected="a working file system",
        fix="`llmcore doctor` looks closer"
        if number not in (errno.EMFILE, errno.ENFILE)
        else "ulimit -n 4096",
    )


def _words(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "")
    text = error.strerror or type(error).__name__
    return f"{text} ({name})" if name else text
