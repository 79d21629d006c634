"""The conformance kits find faults of time, and no fault makes them hang."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "BlocksTheLoop": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "blocked the event loop in BlocksTheLoop.acomplete",
    ),
    "HangingModel": (
        "test_a_conversation_of_several_messages_is_answered",
        "HangingModel.complete did not return within",
    ),
    "HangingStream": (
        "test_a_stream_has_several_deltas_and_the_last_one_has_the_finish_reason",
        "HangingStream.stream did not return within",
    ),
    "KeepsALockOfTheFirstLoop": (
        "test_a_second_event_loop_is_served_after_the_first_one",
        "acomplete must work on a second event loop, raised RuntimeError",
    ),
    "KeepsTheFirstLoop": (
        "test_a_second_event_loop_is_served_after_the_first_one",
        "acomplete must work on a second event loop, raised RuntimeError",
    ),
    "KeepsItsConnectionAfterCancellation": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "did not return within",
    ),
    "KeepsItsLockAfterCancellation": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "did not return within",
    ),
    "StreamsWithoutEnd": (
        "test_a_stream_has_several_deltas_and_the_last_one_has_the_finish_reason",
        "must end, but yielded 20,000 items",
    ),
    "SwallowsCancellation": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "acomplete must end within 0.5 s after its task was cancelled",
    ),
    "TranslatesCancellation": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "a cancelled task raised RuntimeError",
    ),
    "WaitsForALockInTheLoop": (
        "test_a_second_event_loop_is_served_after_the_first_one",
        "blocked the event loop",
    ),
}
TESTS = "cancelled_task or second_event_loop or set_concurrently or conversation or closed_early or stream_has_several or question"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    names = f"async and ({TESTS}) or Hanging and ({TESTS})"
    return run_kit("timing.py", tmp_path_factory, "-k", names, found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["Model", "Cache"])
def test_a_correct_backend_passes(outcomes: Outcomes, backend: str) -> None:
    assert list_failures(outcomes[backend]) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_backend_with_a_fault_of_time_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str
) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_backend_with_a_fault_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Model", "Cache"} == set(FOUND_BY)
