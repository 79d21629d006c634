"""Lends the one store that a process may have of a folder to all that use the folder."""

from __future__ import annotations

import atexit
import threading
from pathlib import Path

from llmcore.builtin import forks
from llmcore.builtin.lmdb_store import Store

__all__ = ["borrow", "give_back"]


class _Shelf:
    """The stores in use, by their real folder; LMDB forbids to open one twice in a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: dict[Path, Store] = {}
        self._users: dict[Path, int] = {}
        forks.watch(self)

    def borrow(self, folder: Path, map_limit: int) -> Store:
        with self._lock:
            store = self._stores.get(folder)
            if store is None:
                store = Store(folder, map_limit)
                store.open()
                self._stores[folder] = store
            store.map_limit = max(store.map_limit, map_limit)
            self._users[folder] = self._users.get(folder, 0) + 1
            return store

    def give_back(self, store: Store) -> None:
        with self._lock:
            self._users[store.folder] -= 1
            if not self._users[store.folder]:
                del self._users[store.folder], self._stores[store.folder]
                store.close()

    def close_all(self) -> None:
        with self._lock:
            for store in self._stores.values():
                store.close()

    def fork_locks(self) -> tuple[threading.Lock, ...]:
        return (self._lock,)

    def after_fork(self, *, at_rest: bool) -> None:  # noqa: ARG002 - the shelf itself is whole either way
        self._lock = threading.Lock()


_shelf = _Shelf()
# Else the next boot would take the file of a program that never closes for a torn one.
atexit.register(_shelf.close_all)


def borrow(folder: Path, map_limit: int) -> Store:
    """Return the store of *folder*, open; every `borrow` is ended by a `give_back`.

    Raises:
        CacheError: The folder cannot be used.
    """
    return _shelf.borrow(folder.resolve(), map_limit)


def give_back(store: Store) -> None:
    """End one `borrow`; the last one closes the store."""
    _shelf.give_back(store)
