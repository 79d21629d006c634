"""Lists the files below a folder, and tells names that only look alike apart."""

from __future__ import annotations

import os
import unicodedata

from llmcore_storage_fs.faults import absent
from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.keys import MAX_PARTS, fault_of_part

__all__ = ["find", "known_as"]


def find(folder: Folder, base: str, beginning: str, depth: int = MAX_PARTS) -> list[str]:
    """Return the keys of the files in and below *folder*, whose own key is *base*, in no order.

    Only names that begin with *beginning* count, here but not below. Links, devices, unfinished files and names
    that cannot be a key's are passed over.
    """
    found: list[str] = []
    folders: list[str] = []
    for entry in folder.scan():
        name = entry.name
        if not name.startswith(beginning) or fault_of_part(name):
            continue
        if entry.is_file(follow_symlinks=False):
            found.append(base + name)
        elif entry.is_dir(follow_symlinks=False):
            folders.append(name)
    for name in folders if depth > 1 else ():
        found += _below(folder, name, f"{base}{name}/", depth - 1)
    return found


def _below(folder: Folder, name: str, base: str, depth: int) -> list[str]:
    try:
        deeper = folder.child(name, create=False)
    except OSError as error:
        if absent(error):  # removed meanwhile, or swapped for a link
            return []
        raise
    with deeper:
        return find(deeper, base, "", depth)


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
