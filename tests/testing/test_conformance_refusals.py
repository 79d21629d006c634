"""The kit of caches finds a refused operation that looks like a miss, a success or an outage."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, run_kit

FOUND_BY = {
    "BatchesAreMisses": "get_many must raise CacheError if it is refused: it returned {}",
    "ClearsNothing": "clear must raise CacheError if it is refused: it returned, and the entry is there",
    "DeletesNothing": "delete must raise CacheError if it is refused: it returned False",
    "DiagnosisIsEmpty": "unavailable must name 'get', which is refused",
    "DiagnosisNamesEverything": "unavailable names ['set'], which work",
    "LeasesFailOpen": "it returned True, and another holder got the same lease",
    "LeasesLookTaken": "it returned False for a free lease",
    "ListsNothing": "keys must raise CacheError if it is refused: it yielded []",
    "MatchesNothing": "delete_matching must raise CacheError if it is refused: it returned 0",
    "NamesNoOperation": "`restricted` must name one of get, set",
    "ReadsAreMisses": "get must raise CacheError if it is refused: it returned None",
    "ReadsAreMissesAfterTheFirst": "get must raise CacheError if it is refused: it returned None",
    "RefusalsAreChained": "chains [PermissionError",
    "RefusalsAreForeign": "must raise CacheError if it is refused, raised PermissionError",
    "RefusalsAreOutages": "raised CacheUnavailable, which means that the server cannot be reached",
    "RefusalsStopTheRest": "CacheError: the user may not run this command",
    "WritesAreDropped": "set must raise CacheError if it is refused: it returned, and stored nothing",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("cache_refusals.py", tmp_path_factory, "-k", "refused", found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["Server", "FallsBack"])
def test_a_cache_that_reports_refusals_passes(outcomes: Outcomes, backend: str) -> None:
    assert complaints(outcomes[backend]) == []
    assert any(how == "passed" for how, _ in outcomes[backend].values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_cache_that_hides_a_refusal_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str, reason: str
) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_cache_that_hides_a_refusal_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Server", "FallsBack"} == set(FOUND_BY)
