"""List the files below a folder, and distinguish names that the file system considers equal."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Generator, Iterator
from contextlib import suppress
from heapq import heapify, heappop
from typing import Final, TypeAlias

from llmcore.support.errors import raise_unchained
from llmcore.support.foreign_names import Skipped
from llmcore.support.storage_keys import MAX_PARTS, find_key_fault, find_part_fault
from llmcore_storage_fs.errors import DENIED, ListingError, is_absent
from llmcore_storage_fs.folders import Folder

__all__ = ["find_real_name", "walk_files"]

_UNSEEN: Final = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's default ignorable code points.

Keys may contain these characters, because emoji, Persian and Hindi need them.
"""
_SHORT: Final = 256
"""A key of at most this many characters is not checked for its size. A character has at most 4 bytes, so the key
has at most 1,024 bytes, which is the limit.
"""
_Found: TypeAlias = tuple[str, str, bool]


def walk_files(
    folder: Folder,
    base: str,
    beginning: str = "",
    after: str = "",
    depth: int = MAX_PARTS,
    *,
    skipped: Skipped,
    few: bool = False,
) -> Generator[tuple[Folder, str, str], None, None]:
    """Yield the files in and below *folder*, sorted by key, as (folder, name, key).

    Links, devices, temporary files, and unreadable folders of other users are skipped.

    Args:
        folder: The folder to list.
        base: The key of *folder*, ending in "/".
        beginning: The prefix that names in *folder* itself must have. Names in subfolders are not restricted.
        after: Yield only keys that sort after this key.
        depth: The maximum number of parts after *base*.
        skipped: Counts names that are not valid in a key. A folder with such a name is skipped with all its files.
        few: True if the caller will stop early. The entries are then sorted one at a time.
    """
    for name, is_file in _list_entries(folder, beginning, _get_rest(base, after), folders=depth > 1, few=few):
        key = base + name
        if find_part_fault(name) or (len(key) > _SHORT and find_key_fault(key)):
            skipped.check(key)
        elif is_file:
            if key > after:
                yield folder, name, key
        elif (below := f"{key}/") > after or after.startswith(below):
            yield from _walk_folder(folder, name, below, after, depth - 1, skipped=skipped, few=few)


def _get_rest(base: str, after: str) -> str:
    """Return the part of the key *after* that follows *base*. Return "" if *after* is not below *base*."""
    return after[len(base) :] if after.startswith(base) else ""


def _list_entries(
    folder: Folder, beginning: str, rest: str, *, folders: bool, few: bool
) -> Iterator[tuple[str, bool]]:
    found: list[_Found] = []
    for entry in folder.scan():
        name = entry.name
        # Drop names of previous pages before any system call: in a large folder, most names belong to other pages.
        if (name <= rest and not rest.startswith(name)) or not name.startswith(beginning):
            continue
        if entry.is_file(follow_symlinks=False):
            found.append((name, name, True))
        elif folders and entry.is_dir(follow_symlinks=False):
            found.append((f"{name}/", name, False))  # with "/", the folder is sorted like the keys below it
    for _, name, is_file in _iterate_sorted(found) if few else sorted(found):
        yield name, is_file


def _iterate_sorted(found: list[_Found]) -> Iterator[_Found]:
    """Yield the entries in order. Entries that the caller does not request are not sorted."""
    heapify(found)
    while found:
        yield heappop(found)


def _walk_folder(
    folder: Folder, name: str, base: str, after: str, depth: int, *, skipped: Skipped, few: bool
) -> Generator[tuple[Folder, str, str], None, None]:
    try:
        deeper = _open_readable(folder, name)
    except OSError as error:
        if is_absent(error):  # another process deleted the folder or replaced it with a link
            return
        if error.errno not in DENIED:
            raise
        if _is_other_users(folder, name):  # for example lost+found in the root of a disk
            return
        raise_unchained(ListingError(error.errno, error.strerror, base.rstrip("/")))
    with deeper:
        yield from walk_files(deeper, base, "", after, depth, skipped=skipped, few=few)


def _open_readable(folder: Folder, name: str) -> Folder:
    deeper = folder.open_child(name, create=False)
    try:
        deeper.stat(".")  # raises if the folder's names are readable, but its files are not
    except BaseException:
        deeper.close()
        raise
    return deeper


def _is_other_users(folder: Folder, name: str) -> bool:
    with suppress(OSError):
        return hasattr(os, "geteuid") and folder.stat(name).st_uid != os.geteuid()
    return True  # another process deleted the folder


def find_real_name(folder: Folder, name: str, described: os.stat_result) -> str:
    """Return the name under which the file system has stored the entry *name* of *folder*.

    The stored name differs from *name* if the file system ignores case, Unicode normalisation or zero-width
    characters. *described* is the status of the entry.
    """
    for spelling in _make_spellings(name):
        try:
            other = folder.stat(spelling)
        except OSError:
            continue
        if os.path.samestat(described, other):
            names = [entry.name for entry in folder.scan()]
            folded = _fold(name)
            return name if name in names else next((n for n in names if _fold(n) == folded), spelling)
    return name


def _make_spellings(name: str) -> set[str]:
    """Return other names that some file systems treat as equal to *name*."""
    others = {name.swapcase(), unicodedata.normalize("NFD", name)}
    if others == {name}:
        # File systems that ignore zero-width characters also ignore case, so the spellings above suffice for names
        # with letters that have a case.
        others = {_UNSEEN.sub("", name), f"{name}\u200b"}
    return others - {name, ""}


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", _UNSEEN.sub("", name)).casefold())
