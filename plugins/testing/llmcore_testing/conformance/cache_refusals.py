"""What a cache must do if the server refuses one of its operations and accepts the others: part of `CacheConformance`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from llmcore.errors import CacheError, CacheUnavailable
from llmcore_testing.conformance.abilities import Abilities
from llmcore_testing.conformance.calling import Caller

__all__ = ["RefusedOperations"]

_KEY: Final = "stored"
_VALUE: Final = b"value"
_CALLS: Final = 3
"""How often a refused operation is called, with calls of others in between."""
_LEASE_S: Final = 60.0


class RefusedOperations(Abilities):
    """A refused operation raises `CacheError`, or works in another way; it never looks like a miss or a success.

    The tests need the fixture `restricted`.
    """

    @pytest.fixture
    def restricted(self) -> Mapping[str, Any]:
        """Return caches on the entries of `provider`, by the sync name of the one operation that the server refuses to each.

        Example: `{"get": MyCache(user="writer")}`. Names are those of methods: "get", "set", "delete", "clear", "keys",
        "get_many", "delete_matching", "acquire". Without an override nothing is tested.
        """
        return {}

    def test_a_refused_operation_is_reported_although_others_succeed(
        self, restricted: Mapping[str, Any]
    ) -> None:
        for operation, provider in restricted.items():
            check = _CHECKS.get(operation)
            assert check is not None, f"`restricted` must name one of {', '.join(_CHECKS)}, got {operation!r}"
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
        """Fail unless the operation raises a `CacheError` that says that it was refused, or does its work."""
        __tracebackhide__ = True
        label = f"{type(caller.provider).__name__}.{caller.spelt(operation)}"
        error: Exception | None = None
        fault: str | None = None
        try:
            fault = check(caller, self.caller)
        except Exception as raised:  # noqa: BLE001 - any other exception than CacheError is the finding
            error = raised
        if error is None:
            assert fault is None, f"{label} must raise CacheError if it is refused: {fault}"
            return
        assert isinstance(error, CacheError), (
            f"{label} must raise CacheError if it is refused, raised {type(error).__name__}: {error}"
        )
        assert not isinstance(error, CacheUnavailable), (
            f"{label} raised CacheUnavailable, which means that the server cannot be reached: "
            "the other operations work, so raise CacheError"
        )
        assert error.message.strip(), f"{label} raised CacheError without a message"
        foreign = self.foreign(error)
        assert not foreign, f"{label} chains {foreign} to its error"

    def _check_others(self, caller: Caller, refused: str) -> None:
        __tracebackhide__ = True
        if refused != "set":
            caller.call("set", "another", _VALUE)
            assert self.call("get", "another") == _VALUE, f"set does not work if {refused} is refused"
        if refused != "get":
            self.call("set", _KEY, _VALUE)
            assert caller.call("get", _KEY) == _VALUE, f"get does not work if {refused} is refused"

    def _check_diagnosis(self, caller: Caller, refused: str) -> None:
        """Check that `unavailable`, where the backend has it, names the refused operation and none that works."""
        __tracebackhide__ = True
        if not caller.has("unavailable"):
            return
        found = caller.call("unavailable")
        assert refused in found, f"unavailable must name {refused!r}, which is refused; got {dict(found)}"
        assert found[refused].strip(), f"unavailable gives no reason for {refused!r}"
        working = {"get", "set"} - {refused}
        assert not working & set(found), f"unavailable names {sorted(working & set(found))}, which work"


def _get(caller: Caller, _: Caller) -> str | None:
    found = caller.call("get", _KEY)
    return None if found == _VALUE else f"it returned {found!r}, and there is an entry"


def _set(caller: Caller, other: Caller) -> str | None:
    caller.call("set", _KEY, b"new")
    return None if other.call("get", _KEY) == b"new" else "it returned, and stored nothing"


def _delete(caller: Caller, other: Caller) -> str | None:
    told = caller.call("delete", _KEY)
    return (
        None
        if told is True and other.call("get", _KEY) is None
        else f"it returned {told!r}, and the entry is there"
    )


def _clear(caller: Caller, other: Caller) -> str | None:
    caller.call("clear")
    return None if other.call("get", _KEY) is None else "it returned, and the entry is there"


def _keys(caller: Caller, _: Caller) -> str | None:
    found = caller.run_bounded(lambda: list(caller.provider.keys()), "keys")
    return None if _KEY in found else f"it yielded {found!r:.80}, and {_KEY!r} is there"


def _get_many(caller: Caller, _: Caller) -> str | None:
    found = caller.call("get_many", [_KEY])
    return None if dict(found) == {_KEY: _VALUE} else f"it returned {found!r:.80}, and {_KEY!r} is there"


def _delete_matching(caller: Caller, other: Caller) -> str | None:
    count = caller.call("delete_matching", _KEY + "*")
    return (
        None
        if count == 1 and other.call("get", _KEY) is None
        else f"it returned {count!r}, and the entry is there"
    )


def _acquire(caller: Caller, other: Caller) -> str | None:
    """Check that a lease without the refused command still has one holder."""
    key = f"work {secrets.token_hex(8)}"
    if caller.call("acquire", key, "one", _LEASE_S) is not True:
        return "it returned False for a free lease, so callers wait for a holder that does not exist"
    if other.call("acquire", key, "two", _LEASE_S):
        return "it returned True, and another holder got the same lease"
    key = f"work {secrets.token_hex(8)}"
    other.call("acquire", key, "two", _LEASE_S)
    if caller.call("acquire", key, "one", _LEASE_S):
        return "it returned True for a lease that another holder has"
    return None


_CHECKS: Final[Mapping[str, Callable[[Caller, Caller], str | None]]] = {
    "get": _get,
    "set": _set,
    "delete": _delete,
    "clear": _clear,
    "keys": _keys,
    "get_many": _get_many,
    "delete_matching": _delete_matching,
    "acquire": _acquire,
}
