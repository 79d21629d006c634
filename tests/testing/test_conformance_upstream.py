"""The kits find a backend that handles a broken server wrongly."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "AsksTwice": (
        "test_without_a_fault_the_server_answers",
        "one call must send one request to `upstream`, got 2",
    ),
    "ChainsTheForeignError": (
        "test_a_server_that_is_away_is_unavailable",
        "to its error: use llmcore.support.errors.raise_unchained",
    ),
    "EndsEveryStreamWell": (
        "test_a_cut_stream_does_not_end_well",
        "stream must raise a ProviderError if the stream is cut (ended_early), ended normally",
    ),
    "EndsWithSilenceOnly": (
        "test_the_deadline_ends_an_answer_that_trickles",
        "complete did not return within",
    ),
    "HasNoTimeout": ("test_a_timeout_ends_the_call", "complete did not return within"),
    "KnowsOnlyTheDeadline": ("test_a_timeout_ends_the_call", "complete did not return within"),
    "LetsForeignErrorsOut": (
        "test_a_server_that_is_away_is_unavailable",
        "complete must raise a ProviderError if the server is away, raised ConnectionRefusedError",
    ),
    "NeverRetryable": (
        "test_a_server_that_is_away_is_unavailable",
        "Unavailable.retryable must be True if the server is away",
    ),
    "PassesOverBrokenLines": (
        "test_a_cut_stream_does_not_end_well",
        "stream must raise a ProviderError if the stream is cut (broken_json), ended normally",
    ),
    "PassesOverErrorsInAStream": (
        "test_a_cut_stream_does_not_end_well",
        "stream must raise a ProviderError if the stream is cut (error), ended normally",
    ),
    "PassesOverRetryAfter": (
        "test_a_status_becomes_the_error_that_fits",
        "retry_after must be 7 s as in the answer, got None",
    ),
    "RepeatsTheKey": ("test_a_status_becomes_the_error_that_fits", "the key is in an error"),
    "ReportsATimeoutAsUnavailable": (
        "test_a_timeout_ends_the_call",
        "the error must be Timeout if the server does not answer, got Unavailable",
    ),
    "ReportsEverythingAsUnavailable": (
        "test_a_status_becomes_the_error_that_fits",
        "the error must be BadRequest if the server answers 400, got Unavailable",
    ),
    "ReportsOutagesAsBadRequests": (
        "test_a_status_becomes_the_error_that_fits",
        "the error must be Unavailable if the server answers 500, got BadRequest",
    ),
    "ReportsRefusedKeysAsBadRequests": (
        "test_a_status_becomes_the_error_that_fits",
        "the error must be AuthenticationFailed if the server answers 401, got BadRequest",
    ),
    "RetriesByItself": (
        "test_a_status_becomes_the_error_that_fits",
        "a failed call must send one request, sent 3: only the host retries",
    ),
    "LosesTheMessage": (
        "test_a_status_becomes_the_error_that_fits",
        "complete raised BadRequest without a message",
    ),
    "TakesAPageForTheAnswer": (
        "test_a_cut_answer_is_an_error",
        "if the server sends an answer that is cut (login_page), returned Reply",
    ),
    "TakesNothingForAnAnswer": (
        "test_a_cut_answer_is_an_error",
        "if the server sends an answer that is cut (empty), returned Reply",
    ),
    "TakesSecondsForMilliseconds": (
        "test_a_timeout_is_in_seconds",
        "an answer after 0.3 s with timeout_s=30.0 raised Timeout",
    ),
    "TakesTheBeginningForTheAnswer": (
        "test_a_cut_answer_is_an_error",
        "if the server sends an answer that is cut (closed_within), returned Reply",
    ),
}
TESTS = "server_answers or is_away or becomes_the_error or cut_answer or cut_stream or timeout or trickles"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("upstream.py", tmp_path_factory, "-k", TESTS, found_by=FOUND_BY)


@pytest.mark.timeout(300)
def test_a_correct_model_passes(outcomes: Outcomes) -> None:
    assert list_failures(outcomes["Model"]) == []
    assert {how for how, _ in outcomes["Model"].values()} == {"passed"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_model_that_handles_a_broken_server_wrongly_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str
) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_model_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Model"} == set(FOUND_BY)
