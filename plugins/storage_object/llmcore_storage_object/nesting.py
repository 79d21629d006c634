"""Prevent that "a" and "a/b" are files at the same time, as on a disk, for stores that would permit it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llmcore.support import forks
from llmcore_storage_object import faults

__all__ = ["Nesting"]


class Nesting:
    """The keys that are being written. A key and its folder cannot be written at the same time."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._writing: list[str] = []

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Claim *key* while it is checked and written.

        Raises:
            StorageKeyError: Another thread or task writes a key that is its folder, or below it.
        """
        with self._lock:
            if any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in self._writing):
                raise faults.make_nested_key_error(key)
            self._writing.append(key)
        try:
            yield
        finally:
            with self._lock:
                self._writing.remove(key)
