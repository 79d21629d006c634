"""Tests of two instances of a storage that write at the same time, in one process or in two.

These tests detect a backend whose lock excludes only the threads of one instance or of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from llmcore.errors import StorageExists
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.caller import Call, Caller
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.conformance.races import needs_fork, race_instances, race_processes
from llmcore_testing.conformance.storage_shared import SharedTests

__all__ = ["StorageRaces"]

_FILES: Final = 12
"""The number of files that each instance saves."""
_ROUNDS: Final = 4


class StorageRaces(SharedTests):
    """Tests that two instances do not lose each other's files.

    For example, a backend loses files if one instance overwrites the index that the other has written.
    """

    @requires("twin")
    def test_files_saved_by_two_instances_at_once_are_all_kept(self, twin: Any) -> None:
        mine, theirs, late = (_make_keys(name) for name in ("mine", "theirs", "late"))
        with closing(self.another(twin)) as other:
            race_instances(self.caller, other, _save(mine), _save(theirs))
            self._check_kept(mine + theirs, other, "two instances save different files at the same time")
            race_instances(self.caller, other, _save(late), [("delete", key) for key in mine])
            self._check_kept(theirs + late, other, "one instance saves files while another deletes others")

    @for_ability("fork")
    @needs_fork
    @requires("twin")
    def test_files_saved_by_two_processes_at_once_are_all_kept(self, twin: Any) -> None:
        mine, theirs = _make_keys("mine"), _make_keys("theirs")
        race_processes(self.caller, twin, ("exists", mine[0]), _save(mine), _save(theirs))
        self._check_kept(mine + theirs, self.caller, "two processes save different files at the same time")

    @for_ability("save_if_absent")
    @requires("twin")
    def test_of_two_instances_one_makes_the_file(self, twin: Any) -> None:
        if not self.holds_conditions():
            return
        with closing(self.another(twin)) as other:
            for number in range(_ROUNDS):
                calls = [("save_if_absent", f"race/{number}", bytes([i])) for i in range(4)]
                found = race_instances(self.caller, other, calls[:2], calls[2:], errors=True)
                made = [i for i, result in enumerate(found) if isinstance(result, str)]
                assert len(made) == 1, (
                    f"exactly one of 4 saves of two instances must succeed, got {len(made)}: {found!r:.200}"
                )
                lost = [result for result in found if not isinstance(result, str | StorageExists)]
                assert not lost, f"the other saves must raise StorageExists, got {lost[0]!r:.100}"

    def _check_kept(self, keys: Sequence[str], other: Caller, what: str) -> None:
        __tracebackhide__ = True
        for caller in (self.caller, other):
            listed = list(caller.call("list_files"))
            lost = sorted(set(keys).difference(listed))
            assert not lost, (
                f"if {what}, all {len(keys)} must be listed: {len(lost)} are not, such as {lost[0]!r}"
            )
            assert listed == sorted(keys), f"if {what}, list_files must return these files only: {listed}"
        loaded = self.together([("load", key) for key in keys], errors=True)
        lost = [key for key, data in zip(keys, loaded, strict=True) if data != key.encode()]
        assert not lost, f"if {what}, all {len(keys)} must be kept: {len(lost)} are lost, such as {lost[0]!r}"


def _make_keys(name: str) -> list[str]:
    return [f"{name}/{number}" for number in range(_FILES)]


def _save(keys: Sequence[str]) -> list[Call]:
    return [("save", key, key.encode()) for key in keys]
