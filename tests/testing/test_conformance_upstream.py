"""The kits find a backend that handles a broken server wrongly."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, run_kit

FOUND_BY = {
    "AsksTwice": "one call must be one request to `upstream`, got 2",
    "ChainsTheForeignError": "to its error: raise it with llmcore.support.errors.raise_unchained",
    "EndsEveryStreamWell": "stream must raise a ProviderError if the stream is cut (ended_early); it ended well",
    "HasNoTimeout": "complete did not return within",
    "KnowsOnlyTheDeadline": "complete did not return within",
    "LetsForeignErrorsOut": "complete must raise a ProviderError if the server is away, raised ConnectionRefusedError",
    "NeverRetryable": "Unavailable.retryable must be True if the server is away",
    "PassesOverBrokenLines": "stream must raise a ProviderError if the stream is cut (broken_json); it ended well",
    "PassesOverErrorsInAStream": "stream must raise a ProviderError if the stream is cut (error); it ended well",
    "PassesOverRetryAfter": "the server asked to wait 7 s, got retry_after=None",
    "RepeatsTheKey": "the key is in an error",
    "ReportsATimeoutAsUnavailable": "the error must be Timeout if the server does not answer, got Unavailable",
    "ReportsEverythingAsUnavailable": "the error must be BadRequest if the server answers 400, got Unavailable",
    "ReportsOutagesAsBadRequests": "the error must be Unavailable if the server answers 500, got BadRequest",
    "ReportsRefusedKeysAsBadRequests": "the error must be AuthenticationFailed if the server answers 401, got BadRequest",
    "RetriesByItself": "a failed call must be one request, the server got 3: the host retries",
    "SaysNothing": "complete raised BadRequest without a message",
    "TakesAPageForTheAnswer": "if the server sends an answer that is cut (login_page), returned Reply",
    "TakesNothingForAnAnswer": "if the server sends an answer that is cut (empty), returned Reply",
    "TakesSecondsForMilliseconds": "an answer after 0.3 s with timeout_s=30.0 raised Timeout",
    "TakesTheBeginningForTheAnswer": "if the server sends an answer that is cut (closed_within), returned Reply",
}
TESTS = "server_answers or is_away or becomes_the_error or cut_answer or cut_stream or timeout"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("upstream.py", tmp_path_factory, "-k", TESTS, found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["Model", "WithoutAServer"])
def test_a_correct_model_passes(outcomes: Outcomes, backend: str) -> None:
    assert complaints(outcomes[backend]) == []
    assert {how for how, _ in outcomes[backend].values()} == {"passed"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_model_that_handles_a_broken_server_wrongly_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str, reason: str
) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_model_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Model", "WithoutAServer"} == set(FOUND_BY)
