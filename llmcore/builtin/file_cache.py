"""The cache `file`: an LMDB file that all processes of a machine share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmcore.builtin.change_log import ALL, record_changes
from llmcore.builtin.file_entry import MAX_VALUE_BYTES, make_prefix, pack, read_head, read_write_time, unpack
from llmcore.builtin.lease_slots import make_acquire, make_lease_slot, make_release
from llmcore.builtin.lmdb_files import CacheFolderError
from llmcore.builtin.lmdb_store import MAX_SLOT_BYTES, FullError
from llmcore.builtin.options import FileOptions
from llmcore.builtin.store_registry import borrow_store, return_store
from llmcore.builtin.use_records import SAMPLE, UseRecords
from llmcore.errors import CacheError, ConfigError
from llmcore.support.digests import start_sha256
from llmcore.support.user_folders import find_cache_folder

if TYPE_CHECKING:
    from llmcore.builtin.eviction import Evictor
    from llmcore.builtin.sweep import Sweeper

__all__ = ["FileCache"]

_SMALLEST: Final = 10**6
_LONGEST_NAMESPACE: Final = 64
_FOR_EVER_S: Final = 10**9
_BATCH: Final = 256
_MANY: Final = 2048
_ATTEMPTS: Final = 8


class FileCache:
    """Implement `llmcore.contracts.CacheProvider`, sync and async; the async methods need no thread.

    The slot of an entry is the key that LMDB uses: the namespace and the reversed bytes of the entry's key. Keys
    often have a common prefix and end with a number. With reversed keys, neighbours in the file have different ages;
    the eviction relies on this.

    Args:
        options: Folder, limits and namespace.
        clock: Returns nanoseconds since 1970-01-01 UTC. Entries expire by this clock, so all processes need the same clock.
        chance: Returns numbers from 0 to 1, which select the hits that are recorded for `lfu`. None means
            a random generator.

    Raises:
        CacheError: The folder cannot be used.
        ConfigError: An option is out of bounds.
    """

    def __init__(
        self,
        options: FileOptions | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
        chance: Callable[[], float] | None = None,
    ) -> None:
        options = options or FileOptions()
        _check_options(options)
        self._clock = clock
        self._max_size = int(options.max_size)
        self._namespace = options.namespace
        self._name = make_prefix(options.namespace)
        self._range = options.namespace.encode() + b"\0"
        self._plain = self._range + b"k"
        self._hashed = self._range + b"h"
        self._store = borrow_store(_require_folder(options.cache_dir), self._max_size // 65536 * 65536)
        counted = options.eviction == "lfu"
        self._chance = chance or (_make_generator() if counted else _raise_unused)
        self._uses = UseRecords(
            self._store.folder,
            self._max_size,
            counted=counted,
            chance=self._chance,
            live_bytes=self._store.count_live_bytes,
        )
        self._writing: tuple[Evictor, Sweeper] | None = None
        self._closed = False

    def get(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        raw = key.encode("utf-8", "surrogatepass")
        slot = self._plain + raw[::-1]
        data = self._store.get(slot if len(slot) <= MAX_SLOT_BYTES else self._make_slot(raw))
        return None if data is None else self._read_value(key, raw, data)

    def _read_value(self, key: str, raw: bytes, data: bytes) -> bytes | None:
        """Return the value of *key* and record the hit. *raw* is the key as bytes, *data* the stored entry.

        The result is None for a miss.
        """
        now = self._clock()
        value = unpack(data, self._name + raw, now)
        if value is None:
            return None
        uses = self._uses
        if (
            self._chance() * SAMPLE < 1
            if uses.counted
            else now >= uses.until or not (uses.roomy or key in uses.recent)
        ):
            uses.record_hit(key, data, read_write_time(data), now)
        return value

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        raw = key.encode("utf-8", "surrogatepass")
        slot = self._make_slot(raw)
        size = len(value) + len(raw)
        if size > min(self._max_size // 4, MAX_VALUE_BYTES):
            raise self._make_size_error(size)
        evictor, sweeper = self._writing or self._prepare_to_write()
        expired = sweeper.find_expired()
        for attempt in range(_ATTEMPTS):
            evictor.make_room(size)
            written = self._clock()
            expires = 0
            if ttl is not None and ttl < _FOR_EVER_S:
                expires = written + max(1, int(ttl * 10**9))
            data = pack(self._name + raw, value, written, expires)
            try:
                self._store.write(self._make_put(key, slot, data, expired, written))
            except FullError:
                evictor.make_more_room(size, attempt)
            else:
                return
        raise CacheError(
            f"a file cache of {self._max_size:,} bytes has no space for an entry of {size:,} bytes",
            expected="a larger cache, or fewer processes that write to it at the same time",
            fix=f'llmcore config set cache.file.max_size "{2 * self._max_size // 10**6}MB"',
        )

    def delete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        raw = key.encode("utf-8", "surrogatepass")
        slot = self._make_slot(raw)
        data = self._store.get(slot)
        if data is None or not self._write(self._make_delete([slot], [key])):
            return False
        return unpack(data, self._name + raw, self._clock()) is not None

    def clear(self) -> None:
        """See `CacheProvider.clear`."""
        while self._write(self._clear_batch):
            pass

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `CacheBatches.get_many`."""
        raws = {key: key.encode("utf-8", "surrogatepass") for key in keys}
        slots = [self._make_slot(raw) for raw in raws.values()]
        found: list[bytes | None] = []
        # Release the lock between batches, because a fork waits for it.
        for at in range(0, len(slots), _MANY):
            found += self._store.read(_make_gets(slots[at : at + _MANY]))
        return {
            key: value
            for (key, raw), data in zip(raws.items(), found, strict=True)
            if data is not None and (value := self._read_value(key, raw, data)) is not None
        }

    def delete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        from llmcore.support.key_patterns import compile_pattern

        matches = compile_pattern(pattern)
        keys = [key for key in self.keys() if matches(key)]
        slots = [self._make_slot(key.encode("utf-8", "surrogatepass")) for key in keys]
        return sum(
            self._write(self._make_delete(slots[at : at + _BATCH], keys[at : at + _BATCH]))
            for at in range(0, len(slots), _BATCH)
        )

    def keys(self) -> Iterator[str]:
        """See `CacheKeys.keys`."""
        after = self._range
        while True:
            keys, after = self._store.read(self._make_key_batch(after))
            yield from keys
            if not after:
                return

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        """See `CacheLeases.acquire`."""
        slot = make_lease_slot(self._namespace, key)
        return bool(self._write(make_acquire(slot, holder, self._clock(), ttl)))

    def release(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        self._write(make_release(make_lease_slot(self._namespace, key), holder))

    def version(self) -> int:
        """See `CacheVersion.version`."""
        return self._store.version()

    def changes_since(self, version: int) -> tuple[int, Sequence[str] | None]:
        """See `CacheHistory.changes_since`."""
        return self._store.changes_since(version, self._namespace.encode())

    async def aget(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        return self.get(key)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        self.set(key, value, ttl)

    async def adelete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        return self.delete(key)

    async def aclear(self) -> None:
        """See `CacheProvider.clear`."""
        self.clear()

    async def aget_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `CacheBatches.get_many`."""
        return self.get_many(keys)

    async def adelete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        return self.delete_matching(pattern)

    async def aacquire(self, key: str, holder: str, ttl: float) -> bool:
        """See `CacheLeases.acquire`."""
        return self.acquire(key, holder, ttl)

    async def arelease(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        self.release(key, holder)

    def close(self) -> None:
        """Release the file. The file is closed when the last cache in this process releases it."""
        if not self._closed:
            self._closed = True
            self._uses.close()
            return_store(self._store)

    async def aclose(self) -> None:
        """See `close`."""
        self.close()

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self._store.folder

    def _make_slot(self, raw: bytes) -> bytes:
        slot = self._plain + raw[::-1]
        if len(slot) <= MAX_SLOT_BYTES:
            return slot
        return self._hashed + start_sha256(raw).digest()

    def _prepare_to_write(self) -> tuple[Evictor, Sweeper]:
        """Return the evictor and the sweeper. The first write creates both; a hit needs neither."""
        from llmcore.builtin.eviction import Evictor
        from llmcore.builtin.sweep import Sweeper

        evictor = Evictor(self._store, self._uses, self._max_size, self._plain, self._clock)
        self._writing = evictor, Sweeper(self._store, self._plain, self._clock)
        return self._writing

    def _write(self, work: Callable[[Any], int]) -> int:
        try:
            return self._store.write(work)
        except FullError:
            pass
        self._store.clear_dead_readers()
        try:
            return self._store.write(work)
        except FullError:
            problem = CacheError(f"the cache in {self.folder} is full; deleting needs space too")
        raise problem

    def _clear_batch(self, txn: Any) -> int:
        with txn.cursor() as cursor:
            count = 0
            there = cursor.set_range(self._range)
            while there and count < _BATCH and bytes(cursor.key()).startswith(self._range):
                there = cursor.delete()
                count += 1
        if count:
            record_changes(txn, self._namespace.encode(), [ALL])
        return count

    def _make_put(
        self, key: str, slot: bytes, data: bytes, expired: Sequence[bytes], now: int
    ) -> Callable[[Any], object]:
        def work(txn: Any) -> object:
            if expired:
                from llmcore.builtin.sweep import remove_expired

                remove_expired(txn, expired, now)
            record_changes(txn, self._namespace.encode(), [key])
            return txn.put(slot, data)

        return work

    def _make_delete(self, slots: Sequence[bytes], keys: Sequence[str]) -> Callable[[Any], int]:
        def work(txn: Any) -> int:
            record_changes(txn, self._namespace.encode(), keys)
            return sum(txn.delete(slot) for slot in slots)

        return work

    def _make_key_batch(self, after: bytes) -> Callable[[Any], tuple[list[str], bytes]]:
        """Return a function that reads one batch of keys in a transaction.

        The function returns the keys and the first slot of the next batch, which is empty at the end.
        """
        return lambda txn: self._read_keys(txn, after)

    def _read_keys(self, txn: Any, after: bytes) -> tuple[list[str], bytes]:
        now = self._clock()
        keys: list[str] = []
        with txn.cursor() as cursor:
            there = cursor.set_range(after)
            for _ in range(_BATCH):
                if not there or not cursor.key().startswith(self._range):
                    return keys, b""
                data = cursor.value()
                head = read_head(data)
                if head is not None and unpack(data, head[2], now) is not None:
                    keys.append(head[2][len(self._name) :].decode("utf-8", "surrogatepass"))
                there = cursor.next()
            return keys, cursor.key() if there else b""

    def _make_size_error(self, size: int) -> CacheError:
        return CacheError(
            f"an entry of {size:,} bytes is too large for a file cache of {self._max_size:,} bytes",
            expected="an entry of at most a quarter of the cache",
            fix=f'llmcore config set cache.file.max_size "{5 * size // 10**6 + 1}MB"',
        )


def _make_generator() -> Callable[[], float]:
    """Return a separate random generator.

    Python's global generator is not used, because that would change the numbers that an application gets from its seed.
    """
    import random  # lazy: only `lfu` needs it

    return random.Random().random  # noqa: S311 - the numbers are not secret


def _raise_unused() -> float:
    raise AssertionError("only lfu selects hits by chance")


def _make_gets(slots: Sequence[bytes]) -> Callable[[Any], list[bytes | None]]:
    return lambda txn: [txn.get(slot) for slot in slots]


def _require_folder(configured: Path | None) -> Path:
    folder = find_cache_folder(configured)
    if folder is not None:
        return folder
    raise CacheFolderError(
        "the cache has no folder: the user has no home directory",
        where="cache_dir in [cache.file]",
        expected="a path, or HOME or XDG_CACHE_HOME as an absolute path",
        fix="llmcore config set cache.provider memory",
    )


def _check_options(options: FileOptions) -> None:
    if options.max_size < _SMALLEST:
        raise ConfigError(
            f"max_size must be at least 1MB, got {options.max_size} bytes",
            where="max_size in [cache.file]",
            expected="1MB or more",
            fix='llmcore config set cache.file.max_size "1GB"',
        )
    if "\0" in options.namespace or not 0 < len(options.namespace) <= _LONGEST_NAMESPACE:
        raise ConfigError(
            f"namespace must have 1 to {_LONGEST_NAMESPACE} characters without NUL, got {options.namespace!r}",
            where="namespace in [cache.file]",
            expected=f"1 to {_LONGEST_NAMESPACE} characters, none of them NUL",
            fix="llmcore config set cache.file.namespace default",
        )
