"""Look up, store and remove the values of one cache, for sync and async callers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmcore.cache.codec import Codec
from llmcore.cache.entry import Entry, LookUp, pack, unpack
from llmcore.cache.invalidation import EVERYTHING, Invalidation
from llmcore.cache.keys import PREFIX, Ttl, make_backend_key, make_stamp_key, parse_ttl
from llmcore.cache.lease import Leases
from llmcore.cache.refresh import Refresher
from llmcore.cache.store import CacheStore
from llmcore.cache.tags import Tags, normalise_tags
from llmcore.calls.single_flight import Flights
from llmcore.calls.steps import Act
from llmcore.errors import CacheError
from llmcore.log import get_logger

__all__ = ["Values"]

_MISS = LookUp(hit=False)


class Values:
    """The state that a CacheManager shares with its cached functions."""

    def __init__(self, store: CacheStore) -> None:
        self.store = store
        self.tags = Tags(store)
        self.flights = Flights()
        self.leases = Leases(store)
        self.refresher = Refresher(store, self.leases)
        self.invalidations = 0
        """The number of invalidations of a pattern or of everything.

        If this number changes during a run, the result of the run is not cached.
        """

    def look_up(self, key: str, codec: Codec) -> Act[LookUp]:
        """Look up *key* and count the hit or miss."""
        kept = yield from self.store.lookup(make_backend_key(key))
        if kept is None:
            return _MISS
        found = yield from self.evaluate(kept, codec)
        if not found.hit:
            self.store.stats.record_unusable()
        return found

    def look_up_many(self, keys: Iterable[str], codec: Codec) -> Act[dict[str, Any]]:
        """Return the cached values by key and count each look-up.

        The backend is called once for the values and once for their tags.
        """
        names = {key: make_backend_key(key) for key in keys}
        kept = yield from self.store.lookup_many(list(names.values()))
        entries = {name: unpack(data) for name, data in kept.items()}
        tags = {tag for entry in entries.values() if entry is not None for tag in entry.stamps}
        stamps = yield from self.tags.get_stamps(tags)
        values = {}
        for key, name in names.items():
            if name not in entries:
                continue
            found = _evaluate(entries[name], stamps, codec)
            if found.hit:
                values[key] = found.value
            else:
                self.store.stats.record_unusable()
        return values

    def evaluate(self, kept: bytes, codec: Codec) -> Act[LookUp]:
        """Decode the cached bytes *kept*; check their tags."""
        entry = unpack(kept)
        stamps = (yield from self.tags.get_stamps(entry.stamps)) if entry is not None and entry.stamps else {}
        return _evaluate(entry, stamps, codec)

    def set(
        self, values: Mapping[str, Any], ttl: Ttl, tags: str | Iterable[str] | None, codec: Codec
    ) -> Act[bool]:
        """Encode and store *values*; return whether all are stored.

        If a value cannot be encoded, nothing is stored.
        """
        ttl = parse_ttl(ttl)
        named = {make_backend_key(key): value for key, value in values.items()}
        wanted = normalise_tags(tags)
        try:
            encoded = {key: codec.encode(value) for key, value in named.items()}
        except CacheError as error:
            self.store.stats.record_error()
            get_logger(__name__).warning("set() stored nothing: %s", error.message)
            return False
        stamps = yield from self.tags.get_or_make_stamps(wanted)
        if stamps is None:
            return False
        done = True
        for key, data in encoded.items():
            done &= yield from self.store.keep(key, pack(Entry(0.0, stamps, data)), ttl, replaces=True)
        return done

    def forget(self, key: str) -> Act[bool]:
        """Remove one key; return whether it existed."""
        return (yield from self.store.forget(make_backend_key(key)))

    def invalidate(self, pattern: str | None, tags: str | Iterable[str] | None) -> Act[int]:
        """See `CacheManager.invalidate`."""
        invalidations = [Invalidation("key", make_stamp_key(tag)) for tag in normalise_tags(tags)]
        if pattern is not None or tags is None:
            self.invalidations += 1
            everything = pattern is None
            invalidations.append(EVERYTHING if everything else Invalidation("pattern", PREFIX + str(pattern)))
        count = yield from self.store.invalidate(*invalidations)
        return -1 if pattern is None else count

    def forget_matching(self, pattern: str) -> Act[int]:
        """Remove the keys that match *pattern*; return their number, or -1 if the backend does not count."""
        return (yield from self.store.invalidate(Invalidation("pattern", PREFIX + pattern)))


def _evaluate(entry: Entry | None, stamps: Mapping[str, bytes], codec: Codec) -> LookUp:
    """Decode *entry*; *stamps* are the current stamps of its tags."""
    if entry is None or any(stamps.get(tag) != stamp for tag, stamp in entry.stamps.items()):
        return LookUp(hit=False, unusable=True)
    hit, value = codec.decode(entry.data)
    return LookUp(hit, value, entry.due, plain=not entry.stamps, unusable=not hit)
