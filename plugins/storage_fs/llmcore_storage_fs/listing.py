"""Lists the files below a folder, and tells names that only look alike apart."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Generator

from llmcore.contracts.storage_keys import MAX_PARTS, fault_of_part
from llmcore_storage_fs.faults import absent
from llmcore_storage_fs.folders import Folder

__all__ = ["in_order", "known_as"]


def in_order(
    folder: Folder, base: str, beginning: str = "", after: str = "", depth: int = MAX_PARTS
) -> Generator[tuple[Folder, str, str], None, None]:
    """Yield the files in and below *folder*, whose own key is *base*: the folder of each, its name and its key, sorted.

    Only names that begin with *beginning* count, here but not below, and only keys that come after *after*. Links,
    devices, unfinished files and names that cannot be a key's are passed over.
    """
    for name, is_file in _entries(folder, beginning, folders=depth > 1):
        key = base + name
        if is_file:
            if key > after:
                yield folder, name, key
        elif (below := f"{key}/") > after or after.startswith(below):
            yield from _below(folder, name, below, after, depth - 1)


def _entries(folder: Folder, beginning: str, *, folders: bool) -> list[tuple[str, bool]]:
    found: list[tuple[str, str, bool]] = []
    for entry in folder.scan():
        name = entry.name
        if not name.startswith(beginning) or fault_of_part(name):
            continue
        if entry.is_file(follow_symlinks=False):
            found.append((name, name, True))
        elif folders and entry.is_dir(follow_symlinks=False):
            found.append((f"{name}/", name, False))  # so sorts what is below it among its neighbours
    found.sort()
    return [(name, is_file) for _, name, is_file in found]


def _below(
    folder: Folder, name: str, base: str, after: str, depth: int
) -> Generator[tuple[Folder, str, str], None, None]:
    try:
        deeper = folder.child(name, create=False)
    except OSError as error:
        if absent(error):  # removed meanwhile, or swapped for a link
            return
        raise
    with deeper:
        yield from in_order(deeper, base, "", after, depth)


def known_as(folder: Folder, name: str, described: os.stat_result) -> str:
    """Return the name that stands in *folder* for what was found under *name*.

    It differs where the file system takes upper and lower case, or two spellings of an accent, for the same.
    """
    for spelling in {name.swapcase(), unicodedata.normalize("NFD", name)} - {name}:
        try:
            other = folder.stat(spelling)
        except OSError:
            continue
        if os.path.samestat(described, other):
            names = [entry.name for entry in folder.scan()]
            folded = _folded(name)
            return name if name in names else next((n for n in names if _folded(n) == folded), spelling)
    return name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
