"""The values of one cache: looked up, kept and forgotten, once for both colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmcore.cache.codec import Codec
from llmcore.cache.entry import Entry, Found, pack, unpack
from llmcore.cache.keys import PREFIX, Ttl, backend_key, matcher, seconds
from llmcore.cache.lease import Leases
from llmcore.cache.refresh import Refresher
from llmcore.cache.store import CacheStore
from llmcore.cache.tags import Tags, listed
from llmcore.calls.flight import Flights
from llmcore.calls.steps import Act

__all__ = ["Values"]

_MISS = Found(hit=False)


class Values:
    """What a CacheManager and the functions that it caches share."""

    def __init__(self, store: CacheStore) -> None:
        self.store = store
        self.tags = Tags(store)
        self.flights = Flights()
        self.leases = Leases(store)
        self.refresher = Refresher(store, self.leases)
        self.invalidations = 0
        """Of patterns and of everything: what began before one of them is not kept after it."""

    def look_up(self, key: str, codec: Codec) -> Act[Found]:
        """Return what is kept under *key*, counted."""
        kept = yield from self.store.lookup(backend_key(key))
        if kept is None:
            return _MISS
        found = yield from self.opened(kept, codec)
        if not found.hit:
            self.store.stats.unusable()
        return found

    def look_up_many(self, keys: Iterable[str], codec: Codec) -> Act[dict[str, Any]]:
        """Return what is kept, by key, each counted; the backend is asked once for them, and once for their tags."""
        names = {key: backend_key(key) for key in keys}
        kept = yield from self.store.lookup_many(list(names.values()))
        entries = {name: unpack(data) for name, data in kept.items()}
        tags = {tag for entry in entries.values() if entry is not None for tag in entry.stamps}
        stamps = yield from self.tags.stamps(tags)
        values = {}
        for key, name in names.items():
            if name not in entries:
                continue
            found = _found(entries[name], stamps, codec)
            if found.hit:
                values[key] = found.value
            else:
                self.store.stats.unusable()
        return values

    def opened(self, kept: bytes, codec: Codec) -> Act[Found]:
        """Return what the bytes in the cache are worth."""
        entry = unpack(kept)
        stamps = (yield from self.tags.stamps(entry.stamps)) if entry is not None and entry.stamps else {}
        return _found(entry, stamps, codec)

    def set(
        self, values: Mapping[str, Any], ttl: Ttl, tags: str | Iterable[str] | None, codec: Codec
    ) -> Act[bool]:
        """Encode and keep *values*; return whether all were."""
        ttl = seconds(ttl)
        encoded = {backend_key(key): codec.encode(value) for key, value in values.items()}
        stamps = yield from self.tags.taken(listed(tags))
        if stamps is None:
            return False
        done = True
        for key, data in encoded.items():
            done &= yield from self.store.keep(key, pack(Entry(0.0, stamps, data)), ttl)
        return done

    def forget(self, key: str) -> Act[bool]:
        """Forget one key; return whether it was there."""
        return (yield from self.store.forget(backend_key(key)))

    def invalidate(self, pattern: str | None, tags: str | Iterable[str] | None) -> Act[int]:
        """See `CacheManager.invalidate`."""
        named = listed(tags)
        if pattern is not None or tags is None:
            self.invalidations += 1
        yield from self.tags.change(named)
        if pattern is not None:
            return (yield from self.matching(pattern))
        if tags is None:
            yield from self.store.managed("clear")
        return -1

    def matching(self, pattern: str) -> Act[int]:
        """Forget the keys that match; return how many."""
        pattern = PREFIX + pattern
        if self.store.backend.ability("delete_matching") is not None:
            gone: int = yield from self.store.managed("delete_matching", pattern)
            return gone
        keys = yield from self.store.managed("keys")
        matches, gone = matcher(pattern).fullmatch, 0
        for key in [key for key in keys if matches(key)]:
            gone += bool((yield from self.store.managed("delete", key)))
        return gone


def _found(entry: Entry | None, stamps: Mapping[str, bytes], codec: Codec) -> Found:
    """Return what *entry* is worth, where *stamps* are those that its tags have now."""
    if entry is None or any(stamps.get(tag) != stamp for tag, stamp in entry.stamps.items()):
        return Found(hit=False, unusable=True)
    hit, value = codec.decode(entry.data)
    return Found(hit, value, entry.due, plain=not entry.stamps, unusable=not hit)
