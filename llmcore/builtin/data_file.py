"""Check an LMDB data file before LMDB maps it, and rename a damaged file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from struct import Struct, error
from typing import NamedTuple

__all__ = ["find_fault", "set_aside"]

DATA, LOCK = "data.mdb", "lock.mdb"

_MAGIC = 0xBEEFC0DE
_HEAD_BYTES = 64 * 1024
_PAGE_SIZES = frozenset(2**power for power in range(8, 17))
_LARGEST_MAP = 2**46
_ENDLESS = 2**64 - 1


class _Layout(NamedTuple):
    """The layout of an LMDB format: the length of a page header, and the version in the meta pages."""

    page_header: int
    version: int


# The layouts of 64-bit LMDB 0.9 and 1.0. After its header, a meta page contains: magic, version, address, size of the
# map, two database records of 48 bytes (the first begins with the page size, each ends with its root), last page,
# transaction id.
_LAYOUTS = (_Layout(16, 1), _Layout(24, 3))
_META = Struct("=IIQQ I36xQ I36xQ QQ")


class _Meta(NamedTuple):
    magic: int
    version: int
    address: int
    map_size: int
    page_size: int
    free_root: int
    pad: int
    main_root: int
    last_page: int
    txn_id: int


def find_fault(folder: Path) -> str | None:
    """Return the fault of the data file in *folder*; None if the file can be opened or does not exist.

    Reading a mapped page beyond the end of the file kills the process. So this function checks that the file contains
    the last used page, which the meta pages name. It reads the meta pages before the size, because a writer extends
    the file before it updates a meta page.
    """
    try:
        with (folder / DATA).open("rb") as file:
            head = file.read(_HEAD_BYTES * 2)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    if not head:
        return None  # another process has just created the file
    metas = _read_metas(head)
    if isinstance(metas, str):
        return metas
    newest = max(metas, key=lambda meta: meta.txn_id)
    needed = (newest.last_page + 1) * newest.page_size
    if size < needed:
        return f"it is truncated: {size:,} bytes of {needed:,}"
    for root in (newest.free_root, newest.main_root):
        if root != _ENDLESS and not 1 < root <= newest.last_page:
            return "its first pages are damaged"
    return None


def set_aside(folder: Path) -> Path:
    """Rename the data file, remove its lock file, and return the new name.

    Older files that were set aside are deleted, so that repeated damage does not fill the disk.
    """
    for older in folder.glob(f"{DATA}.damaged-*"):
        older.unlink(missing_ok=True)
    aside = folder / f"{DATA}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    (folder / DATA).rename(aside)
    # The lock file contains the table of the readers of the old file. A new data file must not use this table.
    (folder / LOCK).unlink(missing_ok=True)
    return aside


def _read_metas(head: bytes) -> list[_Meta] | str:
    for layout in _LAYOUTS:
        first = _read_meta(head, layout.page_header)
        if first is not None and first.magic == _MAGIC and first.version == layout.version:
            break
    else:
        return "it is not an LMDB file"
    size = first.page_size
    second = _read_meta(head, size + layout.page_header) if size in _PAGE_SIZES else None
    if second is None or (second.magic, second.version, second.page_size) != (_MAGIC, layout.version, size):
        return "its second page is damaged"
    if max(first.map_size, second.map_size) > _LARGEST_MAP or min(first.last_page, second.last_page) < 1:
        return "its first pages are damaged"
    return [first, second]


def _read_meta(head: bytes, at: int) -> _Meta | None:
    try:
        return _Meta(*_META.unpack_from(head, at))
    except error:
        return None
