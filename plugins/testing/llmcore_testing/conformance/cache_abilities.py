"""Tests of the optional abilities of a cache: batches, patterns, leases, versions, watching changes."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from llmcore_testing.conformance.abilities import Abilities, for_ability
from llmcore_testing.conformance.caller import Caller

__all__ = ["CacheAbilities", "for_ability"]

_STORED = (
    "user:1", "user:22", "user:[3]", "user:3", "User:1", "xuser:1", "a*b", "a\\b", "a\\xb", "axb", "a\nb", "a.b",
    "a?b", "\u043a\u043b\u044e\u0447", "\U0001f600", "^$", "[!a]", "{a,b}", "100%",
)  # fmt: skip
_PATTERNS = {
    "user:*": ("user:1", "user:22", "user:[3]", "user:3"),
    "user:?": ("user:1", "user:3"),
    "user:[3]": ("user:[3]",),
    "*:1": ("user:1", "User:1", "xuser:1"),
    "a?b": ("a*b", "a\\b", "axb", "a\nb", "a.b", "a?b"),
    "a\\*b": ("a\\b", "a\\xb"),
    "a\\?b": ("a\\xb",),
    "a.b": ("a.b",),
    "a**b": ("a*b", "a\\b", "a\\xb", "axb", "a\nb", "a.b", "a?b"),
    "\u043a?\u044e\u0447": ("\u043a\u043b\u044e\u0447",),
    "?": ("\U0001f600",),
    "^$": ("^$",),
    "[!a]": ("[!a]",),
    "{a,b}": ("{a,b}",),
    "user": (),
    "none*": (),
    "*": _STORED,
}
_CALLERS = 32
_MOMENT_S = 0.1
_LONG_S = 3600.0


class CacheAbilities(Abilities):
    """Tests the optional protocols of `llmcore.contracts.cache` that the backend implements.

    A subclass sets `lacks` to the abilities that its backend does not have. The names of the abilities are "keys",
    "get_many", "delete_matching", "acquire", "version", "watch" and "unavailable".
    """

    expiry_timeout_s: ClassVar[float] = 10.0
    """The maximum time in seconds until an entry with a short ttl is gone. A backend that rounds a ttl up
    to whole seconds needs up to 2 seconds. The rest is for slow machines."""

    @pytest.fixture
    def twin(self, provider: Any) -> Any:  # noqa: ARG002 - overrides use `provider`
        """Return a second cache with the same entries, as in another process.

        If the fixture returns None, the tests use only the first cache.
        """
        return None

    @pytest.fixture
    def other(self, twin: Any) -> Iterator[Caller]:
        """Return a caller for *twin*, or for the first cache if *twin* is None."""
        caller = self.caller if twin is None else self.another(twin)
        yield caller
        if twin is not None:
            caller.close()

    def test_concurrent_first_calls_of_a_new_process_all_get_their_values(self, other: Caller) -> None:
        keys = [f"stored {i}" for i in range(_CALLERS)]
        for key in keys:
            self.call("set", key, key.encode())
        found = other.together([("get", key) for key in keys], errors=True)
        lost = [value for key, value in zip(keys, found, strict=True) if value != key.encode()]
        assert lost == [], f"{len(lost)} of {len(keys)} concurrent callers got no value: {lost[0]!r}"

    @for_ability("get_many")
    def test_get_many_returns_the_values_of_the_keys_that_exist(self) -> None:
        self.needs("get_many")
        wanted = {f"key {i}": b"value" * i for i in range(120)}
        wanted["large"] = b"x" * 300_000
        for key, value in wanted.items():
            self.call("set", key, value)
        assert dict(self.call("get_many", ["nothing", *wanted, "key 1"])) == wanted, (
            "get_many must return exactly the existing keys"
        )
        assert dict(self.call("get_many", [])) == {}
        self.call("set", "key 1", b"short", _MOMENT_S)
        self.call("delete", "key 2")
        self._wait_until(lambda: self.call("get", "key 1") is None)
        assert dict(self.call("get_many", ["key 1", "key 2", "key 3"])) == {"key 3": wanted["key 3"]}, (
            "get_many must omit expired and deleted values"
        )

    @for_ability("get_many")
    def test_get_many_and_get_return_the_same_values(self, sibling: Any) -> None:
        self.needs("get_many")
        keys = [*_STORED, "empty", "long " + "k" * 500]
        for key in keys:
            self.call("set", key, b"" if key == "empty" else key.encode())
        neighbour = None if sibling is None else self.another(sibling)
        try:
            if neighbour is not None:
                neighbour.call("set", "theirs", b"theirs")
            asked = [each for key in keys for each in (f"{key} is not there", key)] + ["theirs"]
            found = self.call("get_many", asked)
        finally:
            if neighbour is not None:
                neighbour.close()
        assert isinstance(found, Mapping), f"get_many must return a mapping, got {type(found).__name__}"
        assert "theirs" not in found, "get_many returned a value of another namespace"
        assert "empty" in found, "an empty value is a value, not a miss"
        for key in keys:
            value = found.get(key)
            assert type(value) is bytes, f"values must be bytes, got {type(value).__name__} for {key!r}"
            assert value == self.call("get", key), f"get_many and get differ for {key!r}"

    @for_ability("get_many")
    def test_get_many_takes_any_sequence_and_does_not_change_it(self) -> None:
        self.needs("get_many")
        for i in range(1500):
            self.call("set", f"{i}", b"value")
        keys = [f"{i}" for i in range(1600)]
        assert len(self.call("get_many", keys)) == 1500, "get_many must return all values"
        assert keys == [f"{i}" for i in range(1600)], "get_many changed the caller's list"
        assert dict(self.call("get_many", ("1", "1600"))) == {"1": b"value"}

    @for_ability("delete_matching")
    @pytest.mark.parametrize(("pattern", "matching"), _PATTERNS.items(), ids=map(ascii, _PATTERNS))
    def test_delete_matching_deletes_the_matching_keys_only(
        self, pattern: str, matching: Sequence[str], sibling: Any
    ) -> None:
        self.needs("delete_matching")
        for key in _STORED:
            self.call("set", key, b"value")
        neighbour = None if sibling is None else self.another(sibling)
        try:
            if neighbour is not None:
                neighbour.call("set", "user:1", b"theirs")
            gone = self.call("delete_matching", pattern)
            left = [key for key in _STORED if self.call("get", key) is not None]
            assert left == [key for key in _STORED if key not in matching], (
                f"delete_matching({pattern!r}) must leave exactly the keys that do not match"
            )
            assert gone == len(matching), (
                f"delete_matching({pattern!r}) must return {len(matching)}, got {gone!r}"
            )
            if neighbour is not None:
                assert neighbour.call("get", "user:1") == b"theirs", (
                    "delete_matching must not affect another namespace"
                )
        finally:
            if neighbour is not None:
                neighbour.close()

    @for_ability("delete_matching")
    def test_delete_matching_does_not_count_expired_keys(self) -> None:
        self.needs("delete_matching")
        for i in range(700):
            self.call("set", f"many {i}", b"value")
        self.call("set", "many and short", b"value", _MOMENT_S)
        self._wait_until(lambda: self.call("get", "many and short") is None)
        assert self.call("delete_matching", "many*") == 700
        assert self.call("delete_matching", "many*") == 0

    @for_ability("acquire")
    def test_a_lease_has_one_holder_until_it_is_released(self, other: Caller) -> None:
        self.needs("acquire", "release")
        work = self._make_key()
        assert self.call("acquire", work, "one", _LONG_S) is True
        assert other.call("acquire", work, "two", _LONG_S) is False, "a lease must have at most one holder"
        assert other.call("acquire", work, "one", _LONG_S) is True, (
            "the holder must be able to renew its lease"
        )
        other.call("release", work, "two")
        assert other.call("acquire", work, "two", _LONG_S) is False, "only the holder may release a lease"
        assert other.call("acquire", work + "2", "two", _LONG_S) is True, "each key has its own lease"
        self.call("release", work, "one")
        assert other.call("acquire", work, "two", _LONG_S) is True, "a released lease must be free again"
        other.call("release", work, "two")
        other.call("release", work, "two")
        other.call("release", work + "2", "two")

    @for_ability("acquire")
    def test_a_lease_ends_after_its_ttl_unless_it_is_renewed(self, other: Caller) -> None:
        self.needs("acquire", "release")
        work = self._make_key()
        for key in (work + "lost", work + "renewed"):
            assert self.call("acquire", key, "one", _MOMENT_S) is True
        assert self.call("acquire", work + "renewed", "one", _LONG_S) is True
        ended = self._wait_until(lambda: other.call("acquire", work + "lost", "two", _LONG_S))
        assert ended, "a lease must end after its ttl, or a crashed holder blocks it forever"
        assert other.call("acquire", work + "renewed", "two", _LONG_S) is False, (
            "a renewed lease ended too early"
        )
        self.call("release", work + "lost", "one")
        assert self.call("acquire", work + "lost", "one", _LONG_S) is False, (
            "a former holder must not release another holder's lease"
        )

    @for_ability("acquire")
    def test_of_concurrent_callers_exactly_one_gets_the_lease(self) -> None:
        self.needs("acquire", "release")
        work = self._make_key()
        for round_ in range(4):
            takers = [("acquire", f"{work}{round_}", f"holder {i}", _LONG_S) for i in range(12)]
            assert self.together(takers).count(True) == 1, "exactly one concurrent caller must get the lease"

    @for_ability("acquire")
    def test_a_lease_is_not_an_entry(self) -> None:
        self.needs("acquire", "release")
        work = self._make_key()
        assert self.call("acquire", work, "one", _LONG_S) is True
        assert self.call("get", work) is None, "get must not return a lease"
        assert self.call("delete", work) is False, "delete must not delete a lease"
        if hasattr(self.caller.provider, "keys"):
            assert list(self.caller.provider.keys()) == [], "keys must not return a lease"
        self.call("set", work, b"value")
        self.call("clear")
        if self.caller.has("delete_matching"):
            self.call("delete_matching", "*")
        assert self.call("acquire", work, "two", _LONG_S) is False, (
            "deleting entries must not release a lease"
        )
        self.call("set", work, b"value")
        self.call("release", work, "one")
        assert self.call("get", work) == b"value", "releasing a lease must not delete the entry"

    @for_ability("version")
    def test_writing_changes_the_version_and_reading_does_not(self, other: Caller) -> None:
        self.needs("version", plain=True)
        version = self.caller.provider.version
        seen = [version()]
        for name, *args in (
            ("set", "key", b"value"), ("set", "key", b"value"), ("set", "short", b"1", _MOMENT_S), ("delete", "key"),
            ("set", "again", b""), ("clear",), ("set", "key", b"value"),
        ):  # fmt: skip
            other.call(name, *args)
            seen.append(version())
            assert type(seen[-1]) is int
            assert seen[-1] not in seen[:-1], f"{name} must change the version"
            assert other.provider.version() == seen[-1], "all processes must see the same version"
            for key in ("key", "nothing", "short"):
                self.call("get", key)
                other.call("get", key)
            assert version() == seen[-1], "reading must not change the version"

    @for_ability("watch")
    def test_a_watcher_receives_the_keys_that_are_written_or_deleted(self, other: Caller) -> None:
        self.needs("watch", plain=True)
        reports: queue.Queue[Sequence[str] | None] = queue.Queue()
        if not self.caller.provider.watch(reports.put):
            assert reports.empty(), "watch returned False but reported keys"
            return
        assert self._is_reported(reports, None), (
            "watch must first report a list of keys; the list may be empty"
        )
        for name, *args in (
            ("set", "one", b"1"),
            ("set", "two", b"2"),
            ("set", "one", b"3"),
            ("delete", "two"),
        ):
            other.call(name, *args)
            assert self._is_reported(reports, args[0]), f"watch must report {name} of {args[0]!r}"

    @for_ability("unavailable")
    def test_unavailable_returns_methods_with_reasons_and_changes_nothing(self) -> None:
        self.needs("unavailable")
        self.call("set", "key", b"value")
        found = self.call("unavailable")
        assert isinstance(found, Mapping), f"unavailable must return a mapping, got {type(found).__name__}"
        for name, reason in found.items():
            there = self.caller.has(name) or callable(getattr(self.caller.provider, name, None))
            assert there, f"unavailable must name methods of the backend, got {name!r}"
            assert isinstance(reason, str), f"a reason must be text, got {type(reason).__name__} for {name!r}"
            assert len(reason.strip().splitlines()) == 1, (
                f"a reason must be one line, got {reason!r} for {name!r}"
            )
        assert self.call("get", "key") == b"value", "unavailable must not change entries"
        if hasattr(self.caller.provider, "keys"):
            assert list(self.caller.provider.keys()) == ["key"], "unavailable must not change entries"

    @staticmethod
    def _make_key() -> str:
        """Return a key that no earlier test has leased, because `clear` does not remove leases."""
        return f"work {secrets.token_hex(8)} "

    def _is_reported(self, reports: queue.Queue[Sequence[str] | None], key: object) -> bool:
        """Return whether `watch` reports *key* within `expiry_timeout_s`. If *key* is None, any list of keys counts."""
        end = time.monotonic() + self.expiry_timeout_s
        while (left := end - time.monotonic()) > 0:
            try:
                keys = reports.get(timeout=left)
            except queue.Empty:
                break
            if keys is not None and (key is None or key in keys):
                return True
        return False

    def _wait_until(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.expiry_timeout_s
        while not (met := condition()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return met
