"""The kit of caches finds a refused operation that looks like a miss, a success or an outage."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "BatchesAreMisses": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "get_many must raise CacheError if the server refuses it: it returned {}",
    ),
    "ClearsNothing": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "clear must raise CacheError if the server refuses it: it returned, but the entry still exists",
    ),
    "DeletesNothing": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "delete must raise CacheError if the server refuses it: it returned False",
    ),
    "DiagnosisIsEmpty": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "unavailable must name the refused operation 'get'",
    ),
    "DiagnosisNamesEverything": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "unavailable must not name working operations, got ['set']",
    ),
    "LeasesFailOpen": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "it returned True, but another holder also got the lease",
    ),
    "LeasesLookTaken": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "it returned False for a free lease",
    ),
    "ListsNothing": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "keys must raise CacheError if the server refuses it: it yielded []",
    ),
    "MatchesNothing": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "delete_matching must raise CacheError if the server refuses it: it returned 0",
    ),
    "NamesNoOperation": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "the keys of `restricted` must be in get, set",
    ),
    "ReadsAreMisses": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "get must raise CacheError if the server refuses it: it returned None",
    ),
    "ReadsAreMissesAfterTheFirst": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "get must raise CacheError if the server refuses it: it returned None",
    ),
    "RefusalsAreChained": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "chains [PermissionError",
    ),
    "RefusalsAreForeign": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "must raise CacheError if the server refuses it, raised PermissionError",
    ),
    "RefusalsAreOutages": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "raised CacheUnavailable: CacheUnavailable means that the server is unreachable",
    ),
    "RefusalsStopTheRest": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "CacheError: the user may not run this command",
    ),
    "WritesAreDropped": (
        "test_a_refused_operation_is_reported_although_others_succeed",
        "set must raise CacheError if the server refuses it: it returned without storing the value",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("cache_refusals.py", tmp_path_factory, "-k", "refused", found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["Server", "FallsBack"])
def test_a_cache_that_reports_refusals_passes(outcomes: Outcomes, backend: str) -> None:
    assert list_failures(outcomes[backend]) == []
    assert any(how == "passed" for how, _ in outcomes[backend].values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_cache_that_hides_a_refusal_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str
) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_cache_that_hides_a_refusal_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Server", "FallsBack"} == set(FOUND_BY)
