"""Tags: invalidate many values at once, in every process, by changing one small entry.

Each tag has a stamp: random bytes, stored in the same cache. A value is stored together with the stamps that its tags
had before the value was made. If a stamp is missing or has changed, the value is a miss. A stamp that is lost or
evicted therefore causes misses, but never makes an old value valid again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from llmcore.cache.keys import make_stamp_key
from llmcore.cache.store import CacheStore
from llmcore.calls.steps import Act

__all__ = ["Tags", "normalise_tags"]

_STAMP_SIZE: Final = 16
_LIFE_S: Final = 3650 * 86400.0
"""TTL of stamps, longer than the TTL of any value. It is not None, because None means the configured TTL."""


def normalise_tags(tags: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return *tags* sorted and without duplicates.

    Raises:
        CacheError: A tag is empty or not text.
    """
    if tags is None:
        return ()
    each = (tags,) if isinstance(tags, str) else tuple(tags)
    for tag in each:
        make_stamp_key(tag)
    return tuple(sorted(set(each)))


class Tags:
    """The stamps of one cache."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store

    def get_or_make_stamps(self, tags: Iterable[str]) -> Act[Mapping[str, bytes] | None]:
        """Return the current stamps, and create missing ones; None if the cache does not store stamps.

        Call this method before the value is computed: an invalidation during the computation then makes the value a
        miss.
        """
        tags = tuple(tags)
        stamps = yield from self.get_stamps(tags)
        for tag in tags:
            if tag in stamps:
                self._store.pin(make_stamp_key(tag))
                continue
            yield from self._store.keep(make_stamp_key(tag), secrets.token_bytes(_STAMP_SIZE), _LIFE_S)
            stamp = yield from self._store.read(
                make_stamp_key(tag)
            )  # read the stamp back, because another process may have replaced it
            if stamp is None:
                return None
            stamps[tag] = stamp
        return stamps

    def get_stamps(self, tags: Iterable[str]) -> Act[dict[str, bytes]]:
        """Return the stamps that exist, by tag. One call of the backend reads all stamps that are not in memory."""
        # Take the last bytes, because bytes in memory may start with the header of the store.
        stamps = {
            tag: near[-_STAMP_SIZE:]
            for tag in tags
            if (near := self._store.peek(make_stamp_key(tag))) is not None
        }
        keys = {tag: make_stamp_key(tag) for tag in tags if tag not in stamps}
        kept = (yield from self._store.read_many(list(keys.values()))) if keys else {}
        return stamps | {tag: kept[key] for tag, key in keys.items() if key in kept}
