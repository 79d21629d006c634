"""Tests of cache entries that expire before they are read, and of more entries than a server lists in one page."""

from __future__ import annotations

import time
from typing import Final

from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.cache_abilities import CacheAbilities

__all__ = ["ExpiryTests"]

_MOMENT_S: Final = 0.1
_MANY: Final = 1500
"""The number of entries for tests of pages. Known servers list at most 1,000 entries per page."""
_FILL_S: Final = 4.0
"""The maximum time in seconds for setting these entries. A slow backend, such as one that writes each entry to disk at
once, gets fewer entries."""


class ExpiryTests(CacheAbilities):
    """Tests that an expired entry does not exist for any method. Many caches remove such an entry only in `get`."""

    def test_delete_misses_an_entry_that_expired_unread(self) -> None:
        self._expire("unread")
        assert self.call("delete", "unread") is False, (
            "delete must return False for an entry that has expired unread"
        )

    def test_an_entry_that_expired_unread_can_be_set_again(self) -> None:
        self._expire("unread")
        self.call("set", "unread", b"again")
        assert self.call("get", "unread") == b"again", "set must replace an entry that has expired unread"

    @for_ability("keys")
    def test_keys_leaves_out_entries_that_expired_unread(self) -> None:
        self.needs("keys", plain=True)
        self._expire("unread", "another")
        assert list(self.caller.provider.keys()) == [], "keys must omit entries that have expired unread"

    @for_ability("get_many")
    def test_get_many_leaves_out_entries_that_expired_unread(self) -> None:
        self.needs("get_many")
        self._expire("unread", "another")
        found = self.call("get_many", ["unread", "another"])
        assert dict(found) == {}, "get_many must omit entries that have expired unread"

    @for_ability("delete_matching")
    def test_delete_matching_does_not_count_entries_that_expired_unread(self) -> None:
        self.needs("delete_matching")
        self._expire("unread", "under")
        count = self.call("delete_matching", "un*")
        assert count == 0, f"delete_matching must not count entries that have expired unread, got {count!r}"

    @for_ability("keys")
    def test_keys_lists_more_than_one_page(self) -> None:
        self.needs("keys", plain=True)
        count = self._fill()
        listed = list(self.caller.provider.keys())
        assert len(listed) == len(set(listed)), (
            f"keys must yield each key once, got {len(listed) - len(set(listed))} duplicates"
        )
        assert len(listed) == count, f"keys must yield all {count:,} keys, got {len(listed):,}"

    def test_clear_removes_more_than_one_page(self) -> None:
        count = self._fill()
        self.call("clear")
        ends = [f"many {i}" for i in (*range(0, count, 50), count - 1)]
        left = [key for key in ends if self.call("get", key) is not None]
        assert left == [], f"clear must remove all of {count:,} entries, left {left[:3]}"

    def _fill(self) -> int:
        """Set entries until there are `_MANY`, or `_FILL_S` seconds have passed.

        Return the number of entries.
        """
        ends = time.monotonic() + _FILL_S
        count = 0
        while count < _MANY and (not count or time.monotonic() < ends):
            self.together([("set", f"many {i}", b"value") for i in range(count, count + 50)])
            count += 50
        return count

    def _expire(self, *keys: str) -> None:
        """Set *keys* with a short ttl, and wait until they have expired, without reading them.

        The method reads only the entry "witness". This entry is set last with the same ttl, so all *keys* have expired
        when it has expired.
        """
        for key in (*keys, "witness"):
            self.call("set", key, b"value", _MOMENT_S)
        assert self._wait_until(lambda: self.call("get", "witness") is None), (
            "an entry with a short ttl must expire"
        )
