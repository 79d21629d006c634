"""The cache `file`: one LMDB file for all processes of a machine."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from llmcore.builtin.entry import MAX_VALUE_BYTES, head_of, name_prefix, pack, unpack, written_of
from llmcore.builtin.eviction import Evictor
from llmcore.builtin.lease_slots import acquired, lease_slot, released
from llmcore.builtin.lmdb_store import MAX_SLOT_BYTES, FullError
from llmcore.builtin.patterns import matcher
from llmcore.builtin.plugin import FileOptions
from llmcore.builtin.shared_stores import borrow, give_back
from llmcore.builtin.sweep import Sweeper, removed
from llmcore.builtin.uses import SAMPLE, Uses
from llmcore.errors import CacheError, ConfigError

__all__ = ["FileCache"]

_SMALLEST: Final = 10**6
_LONGEST_NAMESPACE: Final = 64
_FOR_EVER_S: Final = 10**9
_BATCH: Final = 256
_MANY: Final = 2048
_ATTEMPTS: Final = 8


class FileCache:
    """Keeps `llmcore.contracts.CacheProvider`, and its async twin in microseconds without a thread.

    An entry's slot is the namespace and the key's bytes read backwards. Keys that people write begin alike and end
    in a number: backwards, neighbours in the file are of different ages, which the eviction counts on.

    Args:
        options: Folder, bounds and namespace.
        clock: Nanoseconds since 1970-01-01 UTC, the same for all processes; entries expire by it.
        chance: Numbers from 0 to 1; they decide which hits the eviction learns of. None takes its own.

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
        _check(options)
        self._clock = clock
        self._max_size = int(options.max_size)
        self._namespace = options.namespace
        self._name = name_prefix(options.namespace)
        self._range = options.namespace.encode() + b"\0"
        self._plain = self._range + b"k"
        self._hashed = self._range + b"h"
        self._store = borrow(_folder(options.cache_dir), self._max_size // 65536 * 65536)
        # Of its own: the application's may be seeded, and must stay as it was.
        self._chance = chance or random.Random().random  # noqa: S311 - no secret
        counted = options.eviction == "lfu"
        self._uses = Uses(
            self._store.folder,
            self._max_size,
            counted=counted,
            chance=self._chance,
            live_bytes=self._store.live_bytes,
        )
        self._evictor = Evictor(self._store, self._uses, self._max_size, self._plain, clock)
        self._sweeper = Sweeper(self._store, self._plain, clock)
        self._closed = False

    def get(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        raw = key.encode("utf-8", "surrogatepass")
        slot = self._plain + raw[::-1]
        data = self._store.get(slot if len(slot) <= MAX_SLOT_BYTES else self._slot(raw))
        return None if data is None else self._opened(key, raw, data)

    def _opened(self, key: str, raw: bytes, data: bytes) -> bytes | None:
        """Return the value in what lies in the slot of *key*, whose bytes are *raw*, and note the use of it."""
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
            uses.hit(key, data, written_of(data), now)
        return value

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        raw = key.encode("utf-8", "surrogatepass")
        slot = self._slot(raw)
        size = len(value) + len(raw)
        if size > min(self._max_size // 4, MAX_VALUE_BYTES):
            raise self._too_large(size)
        spent = self._sweeper.before_write()
        for attempt in range(_ATTEMPTS):
            self._evictor.before(size)
            written = self._clock()
            expires = 0
            if ttl is not None and ttl < _FOR_EVER_S:
                expires = written + max(1, int(ttl * 10**9))
            data = pack(self._name + raw, value, written, expires)
            try:
                self._store.write(_put(slot, data, spent, written))
            except FullError:
                self._evictor.after_full(size, attempt)
            else:
                return
        raise CacheError(
            f"a file cache of {self._max_size:,} bytes found no room for an entry of {size:,} bytes",
            expected="a larger cache, or fewer processes that work in it at once",
            fix=f'llmcore config set cache.file.max_size "{2 * self._max_size // 10**6}MB"',
        )

    def delete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        raw = key.encode("utf-8", "surrogatepass")
        slot = self._slot(raw)
        data = self._store.get(slot)
        if data is None or not self._write(lambda txn: txn.delete(slot)):
            return False
        return unpack(data, self._name + raw, self._clock()) is not None

    def clear(self) -> None:
        """See `CacheProvider.clear`."""
        while self._write(self._clear_batch):
            pass

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `CacheBatches.get_many`."""
        raws = {key: key.encode("utf-8", "surrogatepass") for key in keys}
        slots = [self._slot(raw) for raw in raws.values()]
        found: list[bytes | None] = []
        for at in range(0, len(slots), _MANY):  # the lock that a fork waits for is not held for long
            found += self._store.read(_gets(slots[at : at + _MANY]))
        return {
            key: value
            for (key, raw), data in zip(raws.items(), found, strict=True)
            if data is not None and (value := self._opened(key, raw, data)) is not None
        }

    def delete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        matches = matcher(pattern)
        slots = [self._slot(key.encode("utf-8", "surrogatepass")) for key in self.keys() if matches(key)]
        return sum(self._write(_delete(slots[at : at + _BATCH])) for at in range(0, len(slots), _BATCH))

    def keys(self) -> Iterator[str]:
        """See `CacheKeys.keys`."""
        after = self._range
        while True:
            keys, after = self._store.read(self._key_batch(after))
            yield from keys
            if not after:
                return

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        """See `CacheLeases.acquire`."""
        slot = lease_slot(self._namespace, key)
        return bool(self._write(acquired(slot, holder, self._clock(), ttl)))

    def release(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        self._write(released(lease_slot(self._namespace, key), holder))

    def version(self) -> int:
        """See `CacheVersion.version`."""
        return self._store.version()

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
        """Let go of the file; the last one of a process to do so closes it."""
        if not self._closed:
            self._closed = True
            self._uses.close()
            give_back(self._store)

    async def aclose(self) -> None:
        """See `close`."""
        self.close()

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self._store.folder

    def _slot(self, raw: bytes) -> bytes:
        slot = self._plain + raw[::-1]
        if len(slot) <= MAX_SLOT_BYTES:
            return slot
        return self._hashed + hashlib.sha256(raw).digest()

    def _write(self, work: Callable[[Any], int]) -> int:
        try:
            return self._store.write(work)
        except FullError:
            pass
        self._store.forget_dead_readers()
        try:
            return self._store.write(work)
        except FullError:
            problem = CacheError(f"the cache in {self.folder} is full, and too full to delete from")
        raise problem

    def _clear_batch(self, txn: Any) -> int:
        with txn.cursor() as cursor:
            count = 0
            there = cursor.set_range(self._range)
            while there and count < _BATCH and bytes(cursor.key()).startswith(self._range):
                there = cursor.delete()
                count += 1
        return count

    def _key_batch(self, after: bytes) -> Callable[[Any], tuple[list[str], bytes]]:
        """Return the work that tells keys of entries alive, and the slot to go on from; empty at the end."""
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
                head = head_of(data)
                if head is not None and unpack(data, head[2], now) is not None:
                    keys.append(head[2][len(self._name) :].decode("utf-8", "surrogatepass"))
                there = cursor.next()
            return keys, cursor.key() if there else b""

    def _too_large(self, size: int) -> CacheError:
        return CacheError(
            f"an entry of {size:,} bytes does not fit a file cache of {self._max_size:,} bytes",
            expected="a value of less than a quarter of the cache",
            fix=f'llmcore config set cache.file.max_size "{5 * size // 10**6 + 1}MB"',
        )


def _put(slot: bytes, data: bytes, spent: Sequence[bytes], now: int) -> Callable[[Any], object]:
    def work(txn: Any) -> object:
        if spent:
            removed(txn, spent, now)
        return txn.put(slot, data)

    return work


def _gets(slots: Sequence[bytes]) -> Callable[[Any], list[bytes | None]]:
    return lambda txn: [txn.get(slot) for slot in slots]


def _delete(slots: Sequence[bytes]) -> Callable[[Any], int]:
    return lambda txn: sum(txn.delete(slot) for slot in slots)


def _folder(cache_dir: Path | None) -> Path:
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("llmcore", appauthor=False))


def _check(options: FileOptions) -> None:
    if options.max_size < _SMALLEST:
        raise ConfigError(
            f"a file cache of {options.max_size} bytes is too small",
            where="max_size in [cache.file]",
            expected="1MB or more",
            fix='llmcore config set cache.file.max_size "1GB"',
        )
    if "\0" in options.namespace or not 0 < len(options.namespace) <= _LONGEST_NAMESPACE:
        raise ConfigError(
            f"{options.namespace!r} does not do as the namespace of a cache",
            where="namespace in [cache.file]",
            expected=f"1 to {_LONGEST_NAMESPACE} characters, none of them NUL",
            fix="llmcore config set cache.file.namespace default",
        )
