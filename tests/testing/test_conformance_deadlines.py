"""The kits find each method that goes on after its deadline while a server sends a byte now and then."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

ANSWER = "test_the_deadline_ends_an_answer_that_trickles"
STREAM = "test_the_deadline_ends_a_stream_that_trickles"
FOUND_BY = {
    "CompletesLate": (ANSWER, "CompletesLate.complete did not return within"),
    "CompletesLateInATask": (ANSWER, "CompletesLateInATask.acomplete did not return within"),
    "EmbedsLate": (
        "test_the_deadline_ends_embeddings_that_trickle",
        "EmbedsLate.embed did not return within",
    ),
    "EmbedsLateInATask": (
        "test_the_deadline_ends_embeddings_that_trickle",
        "EmbedsLateInATask.aembed did not return within",
    ),
    "SpeaksLate": (ANSWER, "SpeaksLate.synthesize did not return within"),
    "SpeaksLateInATask": (ANSWER, "SpeaksLateInATask.asynthesize did not return within"),
    "StreamsLate": (STREAM, "StreamsLate.stream did not return within"),
    "StreamsLateInATask": (STREAM, "StreamsLateInATask.astream did not return within"),
    "StreamsSpeechLate": (STREAM, "StreamsSpeechLate.stream_speech did not return within"),
    "StreamsSpeechLateInATask": (STREAM, "StreamsSpeechLateInATask.astream_speech did not return within"),
    "TimesCharactersLate": (
        "test_the_deadline_ends_timestamps_that_trickle",
        "TimesCharactersLate.synthesize_with_timestamps did not return within",
    ),
}
CORRECT = ("Model", "Voice")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("deadlines.py", tmp_path_factory, "-k", "trickle or server_answers", found_by=FOUND_BY)


@pytest.mark.parametrize("backend", CORRECT)
def test_calls_that_end_at_their_deadline_pass(outcomes: Outcomes, backend: str) -> None:
    assert list_failures(outcomes[backend]) == []


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_call_that_goes_on_after_its_deadline_is_found(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_backend_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - set(CORRECT) == set(FOUND_BY)
