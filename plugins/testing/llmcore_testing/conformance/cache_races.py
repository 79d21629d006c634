"""Tests of two instances of a cache that write at the same time, in one process or in two.

These tests detect a backend whose lock excludes only the threads of one instance or of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.cache_abilities import CacheAbilities
from llmcore_testing.conformance.caller import Call
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.conformance.races import needs_fork, race_instances, race_processes

__all__ = ["CacheRaces"]

_ENTRIES: Final = 12
"""The number of entries that each instance sets."""
_ROUNDS: Final = 4
_LONG_S: Final = 3600.0


class CacheRaces(CacheAbilities):
    """Tests that two instances do not lose each other's entries, and that only one of them gets a lease."""

    @requires("twin")
    def test_values_set_by_two_instances_at_once_are_all_kept(self, twin: Any) -> None:
        mine, theirs, late = (_make_keys(name) for name in ("mine", "theirs", "late"))
        with closing(self.another(twin)) as other:
            race_instances(self.caller, other, _set(mine), _set(theirs))
            self._check_kept(mine + theirs, "two instances set different keys at the same time")
            race_instances(self.caller, other, _set(late), [("delete", key) for key in mine])
            self._check_kept(theirs + late, "one instance sets keys while another deletes others")
            left = [key for key in mine if other.call("get", key) is not None]
            assert not left, (
                f"a deleted entry must not come back while another instance sets other entries, got {left[0]!r}"
            )

    @for_ability("fork")
    @needs_fork
    @requires("twin")
    def test_values_set_by_two_processes_at_once_are_all_kept(self, twin: Any) -> None:
        mine, theirs = _make_keys("mine"), _make_keys("theirs")
        race_processes(self.caller, twin, ("get", mine[0]), _set(mine), _set(theirs))
        self._check_kept(mine + theirs, "two processes set different keys at the same time")

    @for_ability("acquire")
    @requires("twin")
    def test_of_two_instances_one_gets_the_lease(self, twin: Any) -> None:
        self.needs("acquire", "release")
        work = self._make_key()
        with closing(self.another(twin)) as other:
            for number in range(_ROUNDS):
                calls = [("acquire", f"{work}{number}", f"holder {i}", _LONG_S) for i in range(8)]
                found = race_instances(self.caller, other, calls[:4], calls[4:])
                assert found.count(True) == 1, (
                    f"of 8 callers of two instances, exactly one must get the lease, got {found.count(True)}: {found!r:.200}"
                )

    def _check_kept(self, keys: Sequence[str], what: str) -> None:
        __tracebackhide__ = True
        found = self.together([("get", key) for key in keys], errors=True)
        lost = [key for key, value in zip(keys, found, strict=True) if value != key.encode()]
        assert not lost, f"if {what}, all {len(keys)} must be kept: {len(lost)} are lost, such as {lost[0]!r}"
        if hasattr(self.caller.provider, "keys"):
            assert sorted(self.caller.provider.keys()) == sorted(keys), (
                f"if {what}, the method `keys` must return all of these keys"
            )


def _make_keys(name: str) -> list[str]:
    return [f"{name} {number}" for number in range(_ENTRIES)]


def _set(keys: Sequence[str]) -> list[Call]:
    return [("set", key, key.encode()) for key in keys]
