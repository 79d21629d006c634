"""Tests of a cache whose server refuses one operation but allows the others."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from llmcore.errors import CacheError, CacheUnavailable
from llmcore_testing.conformance.abilities import Abilities
from llmcore_testing.conformance.caller import Caller
from llmcore_testing.conformance.optional_tests import requires

__all__ = ["RefusedOperations"]

_KEY: Final = "stored"
_VALUE: Final = b"value"
_CALLS: Final = 3
"""The number of times that each test repeats the refused operation."""
_LEASE_S: Final = 60.0


class RefusedOperations(Abilities):
    """A refused operation must raise `CacheError` or do its work in another way. It must not report a false miss or success.

    The tests need the fixture `restricted`.
    """

    @pytest.fixture
    def restricted(self) -> Mapping[str, Any]:
        """Return caches that share the entries of `provider`. The key of each cache is the operation that its server refuses.

        Example: `{"get": MyCache(user="writer")}`. Keys are "get", "set", "delete", "clear", "keys", "get_many",
        "delete_matching" and "acquire".
        """
        return {}

    @requires("restricted")
    def test_a_refused_operation_is_reported_although_others_succeed(
        self, restricted: Mapping[str, Any]
    ) -> None:
        for operation, provider in restricted.items():
            check = _CHECKS.get(operation)
            assert check is not None, (
                f"the keys of `restricted` must be in {', '.join(_CHECKS)}, got {operation!r}"
            )
            caller = self.another(provider)
            try:
                for _ in range(_CALLS):
                    self.call("set", _KEY, _VALUE)
                    self._check_refusal(caller, operation, check)
                    self._check_others(caller, operation)
                self._check_diagnosis(caller, operation)
            finally:
                caller.close()

    def _check_refusal(
        self, caller: Caller, operation: str, check: Callable[[Caller, Caller], str | None]
    ) -> None:
        """Check that the operation raises a `CacheError` about the refusal, or does its work."""
        __tracebackhide__ = True
        label = f"{type(caller.provider).__name__}.{caller.get_name(operation)}"
        error: Exception | None = None
        fault: str | None = None
        try:
            fault = check(caller, self.caller)
        except Exception as raised:  # noqa: BLE001 - the test reports any other exception
            error = raised
        if error is None:
            assert fault is None, f"{label} must raise CacheError if the server refuses it: {fault}"
            return
        assert isinstance(error, CacheError), (
            f"{label} must raise CacheError if the server refuses it, raised {type(error).__name__}: {error}"
        )
        assert not isinstance(error, CacheUnavailable), (
            f"{label} must raise CacheError, raised CacheUnavailable: "
            "CacheUnavailable means that the server is unreachable, but other operations work"
        )
        assert error.message.strip(), f"{label} raised CacheError without a message"
        foreign = self.foreign(error)
        assert not foreign, f"{label} chains {foreign} to its error"

    def _check_others(self, caller: Caller, refused: str) -> None:
        __tracebackhide__ = True
        if refused != "set":
            caller.call("set", "another", _VALUE)
            assert self.call("get", "another") == _VALUE, f"set must work while {refused} is refused"
        if refused != "get":
            self.call("set", _KEY, _VALUE)
            assert caller.call("get", _KEY) == _VALUE, f"get must work while {refused} is refused"

    def _check_diagnosis(self, caller: Caller, refused: str) -> None:
        """Check that `unavailable`, if the backend has it, names the refused operation and no other."""
        __tracebackhide__ = True
        if not caller.has("unavailable"):
            return
        found = caller.call("unavailable")
        assert refused in found, f"unavailable must name the refused operation {refused!r}, got {dict(found)}"
        assert found[refused].strip(), f"unavailable must give a reason for {refused!r}"
        working = {"get", "set"} - {refused}
        assert not working & set(found), (
            f"unavailable must not name working operations, got {sorted(working & set(found))}"
        )


def _get(caller: Caller, _: Caller) -> str | None:
    found = caller.call("get", _KEY)
    return None if found == _VALUE else f"it returned {found!r} for an existing entry"


def _set(caller: Caller, other: Caller) -> str | None:
    caller.call("set", _KEY, b"new")
    return None if other.call("get", _KEY) == b"new" else "it returned without storing the value"


def _delete(caller: Caller, other: Caller) -> str | None:
    answer = caller.call("delete", _KEY)
    return (
        None
        if answer is True and other.call("get", _KEY) is None
        else f"it returned {answer!r}, but the entry still exists"
    )


def _clear(caller: Caller, other: Caller) -> str | None:
    caller.call("clear")
    return None if other.call("get", _KEY) is None else "it returned, but the entry still exists"


def _list_keys(caller: Caller, _: Caller) -> str | None:
    found = caller.run_bounded(lambda: list(caller.provider.keys()), "keys")
    return None if _KEY in found else f"it yielded {found!r:.80}, but {_KEY!r} exists"


def _get_many(caller: Caller, _: Caller) -> str | None:
    found = caller.call("get_many", [_KEY])
    return None if dict(found) == {_KEY: _VALUE} else f"it returned {found!r:.80}, but {_KEY!r} exists"


def _delete_matching(caller: Caller, other: Caller) -> str | None:
    count = caller.call("delete_matching", _KEY + "*")
    return (
        None
        if count == 1 and other.call("get", _KEY) is None
        else f"it returned {count!r}, but the entry still exists"
    )


def _acquire(caller: Caller, other: Caller) -> str | None:
    """Check that a lease has one holder although the server refuses a command of `acquire`."""
    key = f"work {secrets.token_hex(8)}"
    if caller.call("acquire", key, "one", _LEASE_S) is not True:
        return "it returned False for a free lease, so callers wait for a holder that does not exist"
    if other.call("acquire", key, "two", _LEASE_S):
        return "it returned True, but another holder also got the lease"
    key = f"work {secrets.token_hex(8)}"
    other.call("acquire", key, "two", _LEASE_S)
    if caller.call("acquire", key, "one", _LEASE_S):
        return "it returned True for a lease of another holder"
    return None


_CHECKS: Final[Mapping[str, Callable[[Caller, Caller], str | None]]] = {
    "get": _get,
    "set": _set,
    "delete": _delete,
    "clear": _clear,
    "keys": _list_keys,
    "get_many": _get_many,
    "delete_matching": _delete_matching,
    "acquire": _acquire,
}
