"""What a cache must do that offers more than the least: batches, patterns, leases, versions, reports of changes."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from llmcore_testing.conformance.abilities import Abilities, of
from llmcore_testing.conformance.calling import Caller

__all__ = ["CacheAbilities", "of"]

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
    """The optional protocols of `llmcore.contracts.cache`, each tested where the backend has its methods.

    What `lacks` may name: "keys", "get_many", "delete_matching", "acquire", "version", "watch", "unavailable".
    """

    patience_s: ClassVar[float] = 10.0
    """How long the end of a short ttl is waited for; a backend of whole seconds needs two of them."""

    @pytest.fixture
    def twin(self, provider: Any) -> Any:  # noqa: ARG002 - an override builds on it
        """Return a second cache on the same entries, as another process opens it; None: the first one serves."""
        return None

    @pytest.fixture
    def other(self, twin: Any) -> Iterator[Caller]:
        """Return a caller of *twin*, or the first one."""
        caller = self.caller if twin is None else self.another(twin)
        yield caller
        if twin is not None:
            caller.close()

    def test_a_new_process_gets_what_is_stored_for_all_its_callers_at_once(self, other: Caller) -> None:
        keys = [f"stored {i}" for i in range(_CALLERS)]
        for key in keys:
            self.call("set", key, key.encode())
        found = other.together([("get", key) for key in keys], errors=True)
        lost = [value for key, value in zip(keys, found, strict=True) if value != key.encode()]
        assert lost == [], f"{len(lost)} of {len(keys)} callers got no value: {lost[0]!r}"

    @of("get_many")
    def test_many_values_come_by_their_keys(self) -> None:
        self.needs("get_many")
        wanted = {f"key {i}": b"value" * i for i in range(120)}
        wanted["large"] = b"x" * 300_000
        for key, value in wanted.items():
            self.call("set", key, value)
        assert dict(self.call("get_many", ["nothing", *wanted, "key 1"])) == wanted, "exactly what is there"
        assert dict(self.call("get_many", [])) == {}
        self.call("set", "key 1", b"short", _MOMENT_S)
        self.call("delete", "key 2")
        self._awaited(lambda: self.call("get", "key 1") is None)
        assert dict(self.call("get_many", ["key 1", "key 2", "key 3"])) == {"key 3": wanted["key 3"]}, (
            "what is over or deleted is not there"
        )

    @of("get_many")
    def test_many_values_are_those_that_get_returns(self, sibling: Any) -> None:
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
        assert "theirs" not in found, "it is another namespace's"
        assert "empty" in found, "an empty value is there"
        for key in keys:
            value = found.get(key)
            assert type(value) is bytes, f"values must be bytes, got {type(value).__name__} for {key!r}"
            assert value == self.call("get", key), f"get_many and get differ for {key!r}"

    @of("get_many")
    def test_many_keys_are_any_sequence_which_is_left_as_it_was(self) -> None:
        self.needs("get_many")
        for i in range(1500):
            self.call("set", f"{i}", b"value")
        keys = [f"{i}" for i in range(1600)]
        assert len(self.call("get_many", keys)) == 1500, "all that are there, however many"
        assert keys == [f"{i}" for i in range(1600)], "the caller's list was changed"
        assert dict(self.call("get_many", ("1", "1600"))) == {"1": b"value"}

    @of("delete_matching")
    @pytest.mark.parametrize(("pattern", "matching"), _PATTERNS.items(), ids=map(ascii, _PATTERNS))
    def test_a_pattern_forgets_what_it_matches_and_nothing_else(
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
            assert left == [key for key in _STORED if key not in matching], f"after {pattern!r}"
            assert gone == len(matching), f"{len(matching)} keys match {pattern!r}, {gone!r} were told"
            if neighbour is not None:
                assert neighbour.call("get", "user:1") == b"theirs", "it is another namespace's"
        finally:
            if neighbour is not None:
                neighbour.close()

    @of("delete_matching")
    def test_a_pattern_forgets_many_and_does_not_count_what_is_over(self) -> None:
        self.needs("delete_matching")
        for i in range(700):
            self.call("set", f"many {i}", b"value")
        self.call("set", "many and short", b"value", _MOMENT_S)
        self._awaited(lambda: self.call("get", "many and short") is None)
        assert self.call("delete_matching", "many*") == 700
        assert self.call("delete_matching", "many*") == 0

    @of("acquire")
    def test_a_lease_has_one_holder_until_it_is_given_back(self, other: Caller) -> None:
        self.needs("acquire", "release")
        work = self._unleased()
        assert self.call("acquire", work, "one", _LONG_S) is True
        assert other.call("acquire", work, "two", _LONG_S) is False, "two holders have one lease"
        assert other.call("acquire", work, "one", _LONG_S) is True, "its holder may renew it"
        other.call("release", work, "two")
        assert other.call("acquire", work, "two", _LONG_S) is False, "another than its holder gave it back"
        assert other.call("acquire", work + "2", "two", _LONG_S) is True, "another key has a lease of its own"
        self.call("release", work, "one")
        assert other.call("acquire", work, "two", _LONG_S) is True, "what was given back may be taken"
        other.call("release", work, "two")
        other.call("release", work, "two")
        other.call("release", work + "2", "two")

    @of("acquire")
    def test_a_lease_ends_with_its_time_unless_it_is_renewed(self, other: Caller) -> None:
        self.needs("acquire", "release")
        work = self._unleased()
        for key in (work + "lost", work + "renewed"):
            assert self.call("acquire", key, "one", _MOMENT_S) is True
        assert self.call("acquire", work + "renewed", "one", _LONG_S) is True
        ended = self._awaited(lambda: other.call("acquire", work + "lost", "two", _LONG_S))
        assert ended, "a lease must end with its ttl, or one that died keeps it"
        assert other.call("acquire", work + "renewed", "two", _LONG_S) is False, (
            "a lease that was renewed has ended"
        )
        self.call("release", work + "lost", "one")
        assert self.call("acquire", work + "lost", "one", _LONG_S) is False, (
            "who lost it must not give it back"
        )

    @of("acquire")
    def test_of_many_one_gets_the_lease(self) -> None:
        self.needs("acquire", "release")
        work = self._unleased()
        for round_ in range(4):
            takers = [("acquire", f"{work}{round_}", f"holder {i}", _LONG_S) for i in range(12)]
            assert self.together(takers).count(True) == 1, "a lease that several got at once is none"

    @of("acquire")
    def test_a_lease_is_no_entry(self) -> None:
        self.needs("acquire", "release")
        work = self._unleased()
        assert self.call("acquire", work, "one", _LONG_S) is True
        assert self.call("get", work) is None, "get must not see a lease"
        assert self.call("delete", work) is False, "delete must not see a lease"
        if hasattr(self.caller.provider, "keys"):
            assert list(self.caller.provider.keys()) == [], "keys must not tell a lease"
        self.call("set", work, b"value")
        self.call("clear")
        if self.caller.has("delete_matching"):
            self.call("delete_matching", "*")
        assert self.call("acquire", work, "two", _LONG_S) is False, "the lease went with the entries"
        self.call("set", work, b"value")
        self.call("release", work, "one")
        assert self.call("get", work) == b"value", "the entry went with the lease"

    @of("version")
    def test_the_version_changes_with_every_write_and_with_no_read(self, other: Caller) -> None:
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
            assert seen[-1] not in seen[:-1], f"{name} did not change the version"
            assert other.provider.version() == seen[-1], "the version is the same for all that look"
            for key in ("key", "nothing", "short"):
                self.call("get", key)
                other.call("get", key)
            assert version() == seen[-1], "reading changed the version"

    @of("watch")
    def test_a_watcher_hears_what_is_written_and_deleted(self, other: Caller) -> None:
        self.needs("watch", plain=True)
        heard: queue.Queue[Sequence[str] | None] = queue.Queue()
        if not self.caller.provider.watch(heard.put):
            assert heard.empty(), "watch said that reports cannot be had, and made one"
            return
        assert self._hears(heard, None), "that reports begin is told by a call with keys, possibly none"
        for name, *args in (
            ("set", "one", b"1"),
            ("set", "two", b"2"),
            ("set", "one", b"3"),
            ("delete", "two"),
        ):
            other.call(name, *args)
            assert self._hears(heard, args[0]), f"{name} of {args[0]!r} was not reported"

    @of("unavailable")
    def test_diagnosis_names_methods_with_a_reason_and_changes_nothing(self) -> None:
        self.needs("unavailable")
        self.call("set", "key", b"value")
        found = self.call("unavailable")
        assert isinstance(found, Mapping), f"unavailable must return a mapping, got {type(found).__name__}"
        for name, reason in found.items():
            there = self.caller.has(name) or callable(getattr(self.caller.provider, name, None))
            assert there, f"unavailable names {name!r}, which is not a method of the backend"
            assert isinstance(reason, str), f"a reason must be text, got {type(reason).__name__} for {name!r}"
            assert len(reason.strip().splitlines()) == 1, (
                f"a reason must be one line, got {reason!r} for {name!r}"
            )
        assert self.call("get", "key") == b"value", "unavailable changed an entry"
        if hasattr(self.caller.provider, "keys"):
            assert list(self.caller.provider.keys()) == ["key"], "unavailable changed the entries"

    @staticmethod
    def _unleased() -> str:
        """Return a key of which no earlier test left a lease: `clear` knows nothing of them."""
        return f"work {secrets.token_hex(8)} "

    def _hears(self, heard: queue.Queue[Sequence[str] | None], key: object) -> bool:
        """Wait until *key*, or, for None, any keys at all are told."""
        end = time.monotonic() + self.patience_s
        while (left := end - time.monotonic()) > 0:
            try:
                told = heard.get(timeout=left)
            except queue.Empty:
                break
            if told is not None and (key is None or key in told):
                return True
        return False

    def _awaited(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.patience_s
        while not (met := condition()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return met
