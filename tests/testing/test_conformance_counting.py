"""The conformance kit of language models tests counts of the server: it passes correct ones, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, run_kit

FOUND_BY = {
    "CapsItsCount": "a longer text must have more tokens",
    "ChainsTheCause": "count_on_server chains [IndexError",
    "ChangesTheRequest": "the request belongs to the caller",
    "CountsTheLastMessage": "count_on_server must count every message",
    "CountsTwice": "tokens in the usage, but count_on_server returned",
    "GeneratesAnAnswer": "it sent a request to /api/chat, which generates an answer",
    "LeavesToolsOut": "count_on_server must count the tools",
    "ReturnsAnEstimate": "a count of the server must be exact",
    "ReturnsAnInt": "count_on_server must return a TokenCount, got int",
    "ReturnsZero": "a number greater than 0",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("counting.py", tmp_path_factory, "-k", "a_count_of_the_server", found_by=FOUND_BY)


def test_correct_counts_pass(outcomes: Outcomes) -> None:
    counter = outcomes["Counter"]
    assert {how for how, _ in counter.values()} == {"passed"}, complaints(counter)
    assert len(counter) == 4


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_broken_counts_fail_and_the_failure_says_why(outcomes: Outcomes, backend: str, reason: str) -> None:
    texts = complaints(outcomes[backend])
    assert texts, f"{backend} passed the kit"
    assert any(reason in text for text in texts), texts[0]


def test_every_broken_backend_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Counter"} == set(FOUND_BY)
