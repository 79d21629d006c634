"""Tags: many values forgotten at once, in every process, by changing one small entry.

Each tag has a stamp, random bytes kept in the same cache. A value bears the stamps that its tags had before it was
made; where one is gone or another, the value is a miss. So a stamp that is lost or evicted costs values, and never
brings one back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from llmcore.cache.keys import stamp_key
from llmcore.cache.store import CacheStore
from llmcore.calls.steps import Act

__all__ = ["Tags", "listed"]

_SIZE: Final = 16
_LIFE_S: Final = 3650 * 86400.0
"""Longer than any value; said, since None would take the configured time to live."""


def listed(tags: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return *tags* in order and each once.

    Raises:
        CacheError: One of them is not a text, or empty.
    """
    if tags is None:
        return ()
    each = (tags,) if isinstance(tags, str) else tuple(tags)
    for tag in each:
        stamp_key(tag)
    return tuple(sorted(set(each)))


class Tags:
    """The stamps of one cache."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store

    def taken(self, tags: Iterable[str]) -> Act[Mapping[str, bytes] | None]:
        """Return the stamps as they are, made where there are none; None where the cache does not keep them.

        To be called before the value is made: what is invalidated meanwhile must not be kept as fresh.
        """
        tags = tuple(tags)
        stamps = yield from self.stamps(tags)
        for tag in tags:
            if tag in stamps:
                continue
            yield from self._store.keep(stamp_key(tag), secrets.token_bytes(_SIZE), _LIFE_S)
            stamp = yield from self._store.look(stamp_key(tag))  # another process may have been later
            if stamp is None:
                return None
            stamps[tag] = stamp
        return stamps

    def stamps(self, tags: Iterable[str]) -> Act[dict[str, bytes]]:
        """Return the stamps that there are; the backend is asked once for what is not in memory."""
        stamps = {
            tag: near[-_SIZE:] for tag in tags if (near := self._store.peek(stamp_key(tag))) is not None
        }
        # What is kept in memory may have the store's own head in front.
        keys = {tag: stamp_key(tag) for tag in tags if tag not in stamps}
        kept = (yield from self._store.look_many(list(keys.values()))) if keys else {}
        return stamps | {tag: kept[key] for tag, key in keys.items() if key in kept}

    def change(self, tags: Iterable[str]) -> Act[None]:
        """Make every value that bears one of *tags* a miss.

        Raises:
            CacheError: The backend failed; tags that come after the failing one are unchanged.
        """
        for tag in tags:
            yield from self._store.managed("delete", stamp_key(tag))
