"""Skip names in a list of files that are not valid keys: other programs may write to the same bucket or folder.

A listing never fails because of such a name, and contains only keys that can be loaded. The first listing that skips names
logs one warning with their number.
"""

from __future__ import annotations

from typing import Final

from llmcore.log import get_logger
from llmcore.support.storage_keys import TEMPORARY, find_key_fault

__all__ = ["ForeignNames", "Skipped"]

_LONGEST: Final = 80


class Skipped:
    """Counts the names that are skipped in one listing."""

    __slots__ = ("count", "first", "reason")

    def __init__(self) -> None:
        self.count = 0
        self.first = ""
        self.reason = ""

    def check(self, name: str) -> bool:
        """Return whether *name* can be a key; count it if it cannot.

        Temporary files of a storage, and the marker "folder/" that web consoles write for a folder, are not counted.
        """
        if (reason := find_key_fault(name)) is None:
            return True
        folder = name.removesuffix("/")
        if not _is_temporary(name) and (folder == name or find_key_fault(folder) is not None):
            self.add(name, reason)
        return False

    def add(self, name: str, reason: str) -> None:
        """Count *name*."""
        if not self.count:
            self.first, self.reason = name, reason
        self.count += 1


class ForeignNames:
    """Warn, once for each storage, about names in the storage that cannot be keys.

    Args:
        place: The place of the files, such as "s3://bucket".
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._reported = False

    def report(self, skipped: Skipped) -> None:
        """Log a warning if a listing skipped names and no warning was logged before."""
        if not skipped.count or self._reported:
            return
        self._reported = True
        shown = skipped.first if len(skipped.first) <= _LONGEST else f"{skipped.first[:_LONGEST]}\u2026"
        names, such = ("1 name", "is") if skipped.count == 1 else (f"{skipped.count} names", "are")
        get_logger(__name__).warning(
            "%s contains %s that cannot be a key and %s not listed, such as %a: %s",
            self._place,
            names,
            such,
            shown,
            skipped.reason,
        )


def _is_temporary(name: str) -> bool:
    return any(part.casefold().startswith(TEMPORARY) for part in name.split("/"))
