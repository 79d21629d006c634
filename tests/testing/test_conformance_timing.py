"""The conformance kits find faults of time, and no fault makes them hang."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, run_kit

FOUND_BY = {
    "BlocksTheLoop": "blocked the event loop in BlocksTheLoop.acomplete",
    "HangingModel": "HangingModel.complete did not return within",
    "HangingStream": "HangingStream.stream did not return within",
    "KeepsALockOfTheFirstLoop": "acomplete must work on a second event loop, raised RuntimeError",
    "KeepsTheFirstLoop": "acomplete must work on a second event loop, raised RuntimeError",
    "KeepsItsConnectionAfterCancellation": "did not return within",
    "KeepsItsLockAfterCancellation": "did not return within",
    "StreamsWithoutEnd": "must end, yielded 20,000 items",
    "SwallowsCancellation": "acomplete must end within 0.5 s after its task was cancelled",
    "TranslatesCancellation": "a cancelled task raised RuntimeError",
    "WaitsForALockInTheLoop": "blocked the event loop",
}
TESTS = "cancelled_task or second_event_loop or set_concurrently or conversation or closed_early or stream_has_several or question"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    names = f"async and ({TESTS}) or Hanging and ({TESTS})"
    return run_kit("timing.py", tmp_path_factory, "-k", names, found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["Model", "Cache"])
def test_a_correct_backend_passes(outcomes: Outcomes, backend: str) -> None:
    assert complaints(outcomes[backend]) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_backend_with_a_fault_of_time_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str, reason: str
) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_backend_with_a_fault_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Model", "Cache"} == set(FOUND_BY)
