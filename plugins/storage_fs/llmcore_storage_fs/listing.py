"""Lists the files below a folder, and tells names that only look alike apart."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Generator, Iterator
from contextlib import suppress
from heapq import heapify, heappop
from typing import Final, TypeAlias

from llmcore.contracts.storage_keys import MAX_PARTS, fault_of_part
from llmcore_storage_fs.faults import DENIED, InFolder, absent
from llmcore_storage_fs.folders import Folder

__all__ = ["in_order", "known_as"]

_UNSEEN: Final = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What Unicode calls default ignorable. Keys may hold it: emoji, Persian and Hindi are written with it."""
_Found: TypeAlias = tuple[str, str, bool]


def in_order(
    folder: Folder,
    base: str,
    beginning: str = "",
    after: str = "",
    depth: int = MAX_PARTS,
    *,
    few: bool = False,
) -> Generator[tuple[Folder, str, str], None, None]:
    """Yield the files in and below *folder*, whose own key is *base*: the folder of each, its name and its key, sorted.

    Only names that begin with *beginning* count, here but not below, and only keys that come after *after*. Links,
    devices, other people's folders that may not be read, unfinished files and names that cannot be a key's are passed over. *few* says that the caller will stop early.
    """
    for name, is_file in _entries(folder, beginning, _rest(base, after), folders=depth > 1, few=few):
        key = base + name
        if is_file:
            if key > after:
                yield folder, name, key
        elif (below := f"{key}/") > after or after.startswith(below):
            yield from _below(folder, name, below, after, depth - 1, few=few)


def _rest(base: str, after: str) -> str:
    """Return what names in the folder of *base* come after or begin: nothing where all of its keys come after."""
    return after[len(base) :] if after.startswith(base) else ""


def _entries(
    folder: Folder, beginning: str, rest: str, *, folders: bool, few: bool
) -> Iterator[tuple[str, bool]]:
    found: list[_Found] = []
    for entry in folder.scan():
        name = entry.name
        # What is on pages before is dropped first, unlooked at: of a large folder that is nearly all.
        if (name <= rest and not rest.startswith(name)) or not name.startswith(beginning):
            continue
        if entry.is_file(follow_symlinks=False):
            found.append((name, name, True))
        elif folders and entry.is_dir(follow_symlinks=False):
            found.append((f"{name}/", name, False))  # so sorts what is below it among its neighbours
    for _, name, is_file in _few_of(found) if few else sorted(found):
        if not fault_of_part(name):
            yield name, is_file


def _few_of(found: list[_Found]) -> Iterator[_Found]:
    """Yield in order without sorting what nobody asks for."""
    heapify(found)
    while found:
        yield heappop(found)


def _below(
    folder: Folder, name: str, base: str, after: str, depth: int, *, few: bool
) -> Generator[tuple[Folder, str, str], None, None]:
    try:
        deeper = _readable(folder, name)
    except OSError as error:
        if absent(error):  # removed meanwhile, or swapped for a link
            return
        if error.errno not in DENIED:
            raise
        if _is_anothers(folder, name):  # such as lost+found at the root of a disk
            return
        raise InFolder(error.errno, error.strerror, base.rstrip("/")) from None
    with deeper:
        yield from in_order(deeper, base, "", after, depth, few=few)


def _readable(folder: Folder, name: str) -> Folder:
    deeper = folder.child(name, create=False)
    try:
        deeper.stat(".")  # to read the names is one right, to look at what they name another
    except BaseException:
        deeper.close()
        raise
    return deeper


def _is_anothers(folder: Folder, name: str) -> bool:
    with suppress(OSError):
        return hasattr(os, "geteuid") and folder.stat(name).st_uid != os.geteuid()
    return True  # it is gone


def known_as(folder: Folder, name: str, described: os.stat_result) -> str:
    """Return the name that stands in *folder* for what was found under *name*.

    It differs where the file system takes upper and lower case, or two spellings of an accent, for the same, or sees no
    characters without a width.
    """
    for spelling in _spellings(name):
        try:
            other = folder.stat(spelling)
        except OSError:
            continue
        if os.path.samestat(described, other):
            names = [entry.name for entry in folder.scan()]
            folded = _folded(name)
            return name if name in names else next((n for n in names if _folded(n) == folded), spelling)
    return name


def _spellings(name: str) -> set[str]:
    """Return other names that some file system takes for the same."""
    others = {name.swapcase(), unicodedata.normalize("NFD", name)}
    if others == {
        name
    }:  # who sees no such characters folds case as well, so only names without case need more
        others = {_UNSEEN.sub("", name), f"{name}\u200b"}
    return others - {name, ""}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", _UNSEEN.sub("", name)).casefold())
