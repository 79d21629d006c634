"""The conformance kit of language models tests counts of the server: it passes correct ones, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

_WHOLE = "test_a_count_of_the_server_covers_the_whole_request"
_NEAR = "test_a_count_of_the_server_is_near_the_usage_of_the_answer"
_CLEAN = "test_a_count_of_the_server_neither_changes_the_request_nor_raises_foreign_errors"
_NO_ANSWER = "test_a_count_of_the_server_generates_no_answer"

FOUND_BY = {
    "CapsItsCount": (_WHOLE, "a longer text must have more tokens"),
    "ChainsTheCause": (_CLEAN, "count_on_server chains [IndexError"),
    "ChangesTheRequest": (_CLEAN, "the count must not change the caller's request"),
    "CountsTheLastMessage": (_WHOLE, "count_on_server must count every message"),
    "CountsTwice": (_NEAR, "tokens in the usage, but count_on_server returned"),
    "GeneratesAnAnswer": (_NO_ANSWER, "it sent a request to /api/chat, which generates an answer"),
    "LeavesToolsOut": (_WHOLE, "count_on_server must count the tools"),
    "ReturnsAnEstimate": (_WHOLE, "a count of the server must be exact"),
    "ReturnsAnInt": (_WHOLE, "count_on_server must return a TokenCount, got int"),
    "ReturnsZero": (_WHOLE, "a number greater than 0"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("counting.py", tmp_path_factory, "-k", "a_count_of_the_server", found_by=FOUND_BY)


def test_correct_counts_pass(outcomes: Outcomes) -> None:
    counter = outcomes["Counter"]
    assert {how for how, _ in counter.values()} == {"passed"}, list_failures(counter)
    assert len(counter) == 4


@pytest.mark.parametrize("backend", FOUND_BY)
def test_broken_counts_fail_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_backend_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Counter"} == set(FOUND_BY)
