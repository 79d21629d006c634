"""`CacheConformance`, the tests for every cache backend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from llmcore.errors import CacheError, CacheUnavailable
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.broken_server import BrokenServer
from llmcore_testing.conformance.cache_expiry import ExpiryTests
from llmcore_testing.conformance.cache_races import CacheRaces
from llmcore_testing.conformance.cache_refusals import RefusedOperations
from llmcore_testing.conformance.caller import Call
from llmcore_testing.conformance.large_values import are_equal
from llmcore_testing.conformance.optional_tests import requires

__all__ = ["CacheConformance"]

_VALUES = {
    "nothing": b"",
    "zero": b"\0",
    "text": b"text\r\n\x1a",
    "spaces": b" \t in spaces \r\n",
    "not_utf8": b"\xff\xfe\x80",
    "every_byte": bytes(range(256)),
    "looks_like_none": b"None",
    "looks_like_a_number": b"0",
    "a_byte_less_than_a_megabyte": b"m" * (10**6 - 1),
    "five_megabytes": bytes(range(256)) * 20_000,
}
_KEYS = (
    "k", "0", "a b", "user:1", "a/b/../c", "with\nline", "with\ttab", "with\0nul", "*", "a?[b]{c}", "%s %d", "'; --",
    "gr\u00fc\u00dfe", "\u043a\u043b\u044e\u0447", "\u6587\u4ef6", "\U0001f600", "e\u0301",
    "n" * 512, "\u6587" * 512, "\U0001f600" * 512,
)  # fmt: skip
_APART = (
    ("a", "ab"), ("a", "a "), ("a", "A"), ("a", "a\0"), ("a:b", "a_b"), ("1", "01"), ("\u00e9", "e\u0301"),
    ("x" * 511, "x" * 512), ("x" * 511 + "a", "x" * 511 + "b"), ("a" + "\u6587" * 511, "b" + "\u6587" * 511),
)  # fmt: skip
_MAY_BE_REFUSED = 10**6 - 1
"""The size in bytes up to which a backend must accept a value. It may refuse a larger value."""
_MOMENT_S = 0.1
_LONG_S = 3600.0


class CacheConformance(ExpiryTests, CacheRaces, RefusedOperations, BrokenServer):
    """Tests the contract `llmcore.contracts.cache`. The cache that `provider` returns must be empty.

    Override the fixture `sibling` if the backend has namespaces, `twin` if several processes can share it, `restricted`
    if its server can refuse single operations, and `upstream`, `broken` and `denied` if there is a server.
    """

    kind: ClassVar[str] = "cache"
    must: ClassVar[tuple[str, ...]] = ("get", "set", "delete", "clear")
    example: ClassVar[str] = "MyCache(tmp_path)"
    failure = CacheError
    away = CacheUnavailable
    refusal = CacheError

    @pytest.fixture
    def sibling(self, provider: Any) -> Any:  # noqa: ARG002 - overrides use `provider`
        """Return a second cache in another namespace of the same backend; None if the backend has no namespaces."""
        return None

    def make_call(self) -> Call:
        """Return a call that succeeds."""
        return "set", "key", b"value"

    def make_odd_call(self) -> Call:
        """Return a call that raises or finds nothing."""
        return "get", "no such key"

    def make_write(self, key: str, data: bytes) -> Call:
        """Return the call that stores *data*."""
        return "set", key, data

    def make_read(self, key: str) -> Call:
        """Return the call that returns the value of *key*."""
        return "get", key

    def make_other_calls(self, key: str) -> Sequence[Call]:
        """Return calls of all other operations that need the server."""
        return (
            ("delete", key),
            ("clear",),
            ("get_many", [key]),
            ("delete_matching", f"{key}*"),
            ("acquire", key, "holder", _LONG_S),
        )

    @pytest.mark.parametrize("value", _VALUES.values(), ids=_VALUES)
    def test_get_returns_the_bytes_that_were_set(self, value: bytes) -> None:
        try:
            result = self.call("set", "key", value)
        except CacheError as error:
            self._judge_refusal(error, value)
            return
        assert result is None, "set returns nothing"
        found = self.call("get", "key")
        assert type(found) is bytes, f"get must return bytes, got {type(found).__name__}"
        assert len(found) == len(value), f"get must return all {len(value)} bytes, got {len(found)}"
        assert are_equal(found, value), "get must return the bytes that were set"

    def test_a_value_that_is_refused_leaves_no_older_one(self) -> None:
        self.call("set", "key", b"older")
        large = _VALUES["five_megabytes"]
        try:
            self.call("set", "key", large)
        except CacheError:
            assert self.call("get", "key") is None, (
                "set raised for a value, so get must not return an older value"
            )
        else:
            assert are_equal(self.call("get", "key"), large), "get must return the bytes that were set"

    def _judge_refusal(self, error: CacheError, value: bytes) -> None:
        """Check the error that a backend raised for a large value."""
        size = len(value)
        assert size > _MAY_BE_REFUSED, f"set must accept a value of {size} bytes, raised: {error.message}"
        assert not isinstance(error, CacheUnavailable), (
            "the error for a too large value must be CacheError, not CacheUnavailable"
        )
        assert f"{size:,}" in error.message or str(size) in error.message, (
            "the error must name the size of the value"
        )
        assert self.foreign(error) == [], "the error must not chain foreign exceptions"
        self.call("set", "key", b"small")
        assert self.call("get", "key") == b"small", "set must work after an error for a large value"

    @pytest.mark.parametrize("key", _KEYS, ids=lambda key: ascii(key[:12]) + str(len(key)))
    def test_any_text_of_1_to_512_characters_is_a_key(self, key: str) -> None:
        assert self.call("get", key) is None
        self.call("set", key, key.encode())
        assert self.call("get", key) == key.encode(), (
            f"get({key!r:.40}) does not return the value of this key"
        )
        assert self.call("delete", key) is True
        assert self.call("get", key) is None, "a deleted value must be gone"

    @pytest.mark.parametrize("keys", _APART, ids=lambda keys: ascii(keys[0][:8]) + "_" + ascii(keys[1][:8]))
    def test_keys_that_look_alike_are_kept_apart(self, keys: tuple[str, str]) -> None:
        first, second = keys
        self.call("set", first, b"first")
        assert self.call("get", second) is None, "get returned the value of another key"
        self.call("set", second, b"second")
        assert self.call("get", first) == b"first", "setting one key changed another"
        assert self.call("delete", second) is True
        assert self.call("get", first) == b"first", "deleting one key changed another"

    @pytest.mark.usefixtures("no_threads")
    def test_it_works_or_raises_if_no_thread_can_be_started(self) -> None:
        if self.works_or_refuses("set", "key", b"value"):
            assert self.call("get", "key") == b"value"
        self.works_or_refuses("delete", "key")
        if self.caller.has("acquire"):
            self.works_or_refuses("acquire", "key", "holder", _LONG_S)

    def test_a_miss_is_none(self) -> None:
        assert self.call("get", "nothing") is None
        self.call("set", "key", b"")
        assert self.call("get", "ke") is None
        assert self.call("get", "key") == b"", "an empty value is a value, not a miss"

    def test_setting_again_replaces_value_and_ttl(self) -> None:
        for value in (b"first and long", b"second", b"", b"the last one" * 1000):
            self.call("set", "key", value)
            assert are_equal(self.call("get", "key"), value), "set must replace the whole earlier value"
        self.call("set", "key", b"short", _MOMENT_S)
        self.call("set", "key", b"for long")
        self.call("set", "witness", b"1", _MOMENT_S)
        self._wait_until_gone("witness")
        assert self.call("get", "key") == b"for long", (
            "a value without ttl must not inherit the ttl of an earlier set"
        )
        self.call("set", "key", b"for long", _LONG_S)
        self.call("set", "key", b"short", _MOMENT_S)
        self._wait_until_gone("key")

    def test_delete_returns_whether_there_was_a_value(self) -> None:
        assert self.call("delete", "key") is False
        self.call("set", "key", b"")
        assert self.call("delete", "key") is True
        assert self.call("delete", "key") is False
        assert self.call("get", "key") is None, "a deleted value must be gone"
        self.call("set", "key", b"again")
        assert self.call("get", "key") == b"again", "a deleted key may be set again"

    def test_a_value_is_a_miss_after_its_ttl(self) -> None:
        self.call("set", "key", b"value", _MOMENT_S)
        self.call("set", "other", b"stays")
        self._wait_until_gone("key")
        assert self.call("delete", "key") is False, "delete of an expired value must return False"
        assert self.call("get", "other") == b"stays", "a value without ttl must stay"

    def test_a_ttl_is_not_rounded_to_zero(self) -> None:
        # On a slow machine, one round trip may take longer than a short ttl, so the test tries longer ones.
        for ttl in (0.4, 0.9, 1.4, 2.9, 9.9):
            self.call("set", "key", b"value", ttl)
            if self.call("get", "key") == b"value":
                return
        pytest.fail("a value with a fractional ttl must not expire at once")

    @pytest.mark.parametrize("ttl", [1, 59.5, _LONG_S, 31_536_000, 10**11])
    def test_a_long_ttl_does_not_end_at_once(self, ttl: float) -> None:
        self.call("set", "key", b"value", ttl)
        assert self.call("get", "key") == b"value", f"a value with a ttl of {ttl:g} s expired at once"

    def test_a_ttl_counts_seconds(self) -> None:
        self.call("set", "minute", b"value", 60)
        self.call("set", "moment", b"value", _MOMENT_S)
        started = time.monotonic()
        self._wait_until_gone("moment")
        self._wait_until(
            lambda: time.monotonic() - started > _MOMENT_S
        )  # this wait detects a backend that reads a ttl as milliseconds
        assert self.call("get", "minute") == b"value", (
            "a ttl is in seconds: a value with ttl=60 expired too early"
        )

    def test_clear_removes_every_value(self) -> None:
        self.call("clear")
        keys = [f"key {i}" for i in range(40)]
        for key in keys:
            self.call("set", key, b"value", _LONG_S if key.endswith("1") else None)
        assert self.call("clear") is None, "clear returns nothing"
        left = [key for key in keys if self.call("get", key) is not None]
        assert left == [], f"clear must remove all {len(keys)} values, left {len(left)}"
        self.call("set", keys[0], b"again")
        assert self.call("get", keys[0]) == b"again", "set must work after clear"

    @requires("sibling")
    def test_namespaces_are_separate(self, sibling: Any) -> None:
        other = self.another(sibling)
        try:
            for i in range(20):
                self.call("set", f"key{i}", b"mine")
                other.call("set", f"key{i}", b"theirs")
            assert self.call("get", "key1") == b"mine", "get returned a value of the other namespace"
            assert self.call("delete", "key1") is True
            assert other.call("get", "key1") == b"theirs", "delete must not affect the other namespace"
            self.call("clear")
            assert self.call("get", "key2") is None
            kept = [other.call("get", f"key{i}") for i in range(20)]
            assert kept == [b"theirs"] * 20, "clear must not affect the other namespace"
        finally:
            other.close()

    def test_the_cache_keeps_a_copy_of_the_value(self) -> None:
        value = bytearray(b"as it was set")
        self.call("set", "key", bytes(value))
        value[:] = b"changed later"
        first = self.call("get", "key")
        assert first == b"as it was set"
        assert type(first) is bytes, "get must return immutable bytes"

    def test_concurrent_readers_get_whole_values(self) -> None:
        values = [bytes([65 + i]) * 50_000 for i in range(6)]
        self.call("set", "shared", values[0])
        for _ in range(4):
            calls = [("set", "shared", value) for value in values] + [("get", "shared")] * 6
            for found in self.together(calls)[len(values) :]:
                assert found in values, "a reader got a value that was never set"
        assert self.call("get", "shared") in values

    def test_values_set_concurrently_are_all_kept(self) -> None:
        keys = [f"many:{i}" for i in range(32)]
        self.together([("set", key, key.encode() * 20) for key in keys])
        found = self.together([("get", key) for key in keys])
        assert found == [key.encode() * 20 for key in keys], "concurrent sets lost or mixed up values"

    def test_of_concurrent_deletes_exactly_one_returns_true(self) -> None:
        self.call("set", "key", b"value")
        answers = self.together([("delete", "key")] * 6)
        assert sorted(answers) == [False] * 5 + [True], "exactly one concurrent delete must return True"
        assert self.call("get", "key") is None

    @for_ability("keys")
    def test_keys_returns_the_keys_that_have_a_value(self) -> None:
        self._list_keys()
        assert self._list_keys() == []
        wanted = sorted(key for key in _KEYS if "\0" not in key)
        for key in wanted:
            self.call("set", key, b"value")
        self.call("set", "short", b"value", _MOMENT_S)
        self.call("set", "deleted", b"value")
        self.call("delete", "deleted")
        self._wait_until_gone("short")
        assert self._list_keys() == wanted, "keys must return exactly the existing keys"
        self.call("clear")
        assert self._list_keys() == []

    @for_ability("keys")
    def test_keys_may_be_set_and_deleted_while_they_are_read(self) -> None:
        self._list_keys()
        for i in range(600):
            self.call("set", f"key{i}", b"value")
        seen = []
        for count, key in enumerate(self.caller.provider.keys()):
            seen.append(key)
            self.call("delete" if count % 2 else "set", key, *([] if count % 2 else [b"again"]))
        assert set(seen) == {f"key{i}" for i in range(600)}

    def _list_keys(self) -> list[str]:
        self.needs("keys", plain=True)
        return sorted(self.caller.provider.keys())

    def _wait_until_gone(self, key: str) -> None:
        gone = self._wait_until(lambda: self.call("get", key) is None)
        assert gone, f"a value with a short ttl still exists after {self.expiry_timeout_s:g} s"
