"""The kits find locks that hold in one instance or in one process only."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

_FILES = "test_files_saved_by_two_{}_at_once_are_all_kept"
_VALUES = "test_values_set_by_two_{}_at_once_are_all_kept"

FOUND_BY = {
    "BudgetHeldByAProcess": (
        "test_two_processes_that_reserve_at_once_never_exceed_a_limit",
        "two processes granted 11 reservations of 10 of a limit of 100",
    ),
    "ConditionHeldByAnInstance": (
        "test_of_two_instances_one_makes_the_file",
        "exactly one of 4 saves of two instances must succeed, got 2",
    ),
    "DiesInARace": (_FILES.format("processes"), "a call in a forked process ended the process with SIGKILL"),
    "EntriesHeldByAnInstance": (_VALUES.format("instances"), "all 24 must be kept"),
    "EntriesHeldByAProcess": (_VALUES.format("processes"), "all 24 must be kept"),
    "IndexHeldByAnInstance": (_FILES.format("instances"), "all 24 must be listed"),
    "IndexHeldByAProcess": (_FILES.format("processes"), "all 24 must be listed"),
    "LeasesHeldByAnInstance": (
        "test_of_two_instances_one_gets_the_lease",
        "exactly one must get the lease, got 2",
    ),
    "RefusesInARace": (_FILES.format("processes"), "another process writes"),
}
CORRECT = {"EntriesInOneFile", "FilesInOneFile"}
NOT_IN_FORKS = {"DiesInForks": "it ended with SIGKILL", "RefusesForks": "open the storage again after a fork"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    races = ("-k", "two_instances_at_once or two_processes or two_instances_one")
    return run_kit("racing.py", tmp_path_factory, *races, found_by=FOUND_BY)


@pytest.mark.parametrize("backend", sorted(CORRECT))
def test_a_lock_of_the_system_passes(outcomes: Outcomes, backend: str) -> None:
    assert list_failures(outcomes[backend]) == []
    assert {test.partition("[")[0] for test, (how, _) in outcomes[backend].items() if how == "passed"} >= {
        name.format(what)
        for what in ("instances", "processes")
        for name in [_FILES if backend == "FilesInOneFile" else _VALUES]
    }


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_lock_that_does_not_hold_is_found(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


@pytest.mark.parametrize("backend", NOT_IN_FORKS)
def test_a_backend_that_does_not_work_in_a_forked_process_is_skipped(
    outcomes: Outcomes, backend: str
) -> None:
    assert list_failures(outcomes[backend]) == []
    (said,) = (said for test, (_, said) in outcomes[backend].items() if "two_processes" in test)
    assert f"does not work in a forked process: {NOT_IN_FORKS[backend]}" in said


def test_every_broken_backend_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - CORRECT - set(NOT_IN_FORKS) == set(FOUND_BY)
