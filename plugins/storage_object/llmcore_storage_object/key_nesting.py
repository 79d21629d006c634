"""Prevent "a" and "a/b" from being files at the same time, for stores that would allow this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llmcore.support import forks
from llmcore_storage_object import errors

__all__ = ["Nesting"]


class Nesting:
    """The keys that are being written. While "a/b" is written, neither "a" nor "a/b/c" can be written."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._writing: list[str] = []

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Reserve *key* while the context checks and writes it.

        Raises:
            StorageKeyError: Another thread or task is writing a folder of *key* or a key below *key*.
        """
        with self._lock:
            if any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in self._writing):
                raise errors.make_nested_key_error(key)
            self._writing.append(key)
        try:
            yield
        finally:
            with self._lock:
                self._writing.remove(key)
