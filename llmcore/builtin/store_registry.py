"""Share one store per folder in a process, because LMDB must not open a folder twice in one process."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

from llmcore.builtin.lmdb_store import Store
from llmcore.errors import CacheError
from llmcore.support import forks
from llmcore.support.errors import raise_unchained

__all__ = ["borrow_store", "return_store"]


class _StorePool:
    """The open stores: real path of the folder -> store and number of users."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._stores: dict[Path, Store] = {}
        self._users: dict[Path, int] = {}

    def borrow_store(self, folder: Path, map_limit: int) -> Store:
        with self._lock:
            store = self._stores.get(folder)
            if store is None:
                store = Store(folder, map_limit)
                store.open()
                self._stores[folder] = store
            store.map_limit = max(store.map_limit, map_limit)
            self._users[folder] = self._users.get(folder, 0) + 1
            return store

    def return_store(self, store: Store) -> None:
        with self._lock:
            self._users[store.folder] -= 1
            if not self._users[store.folder]:
                del self._users[store.folder], self._stores[store.folder]
                store.close()

    def close_all(self) -> None:
        with self._lock:
            for store in self._stores.values():
                store.close()


_pool = _StorePool()
# At exit, close the stores that the program left open: otherwise, their files would count as damaged after a reboot.
atexit.register(_pool.close_all)


def borrow_store(folder: Path, map_limit: int) -> Store:
    """Return the open store of *folder*. Each call needs one later call of `return_store`.

    Raises:
        CacheError: The folder cannot be used.
    """
    try:
        # realpath accepts a circular link, so that opening the store raises OSError; Path.resolve would raise
        # RuntimeError.
        real = Path(os.path.realpath(folder))
    except OSError as error:  # the folder is relative, and the working directory does not exist
        raise_unchained(
            CacheError(
                f"the cache cannot use the folder {folder}: {error.strerror}",
                where=str(folder),
                expected="an absolute path of a folder",
            )
        )
    return _pool.borrow_store(real, map_limit)


def return_store(store: Store) -> None:
    """Release a store that `borrow_store` returned. The last release closes the store."""
    _pool.return_store(store)
