"""The conformance kit of engines passes a correct engine, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "AlwaysLost": (
        "test_an_exception_of_the_function_is_an_error_with_its_words",
        "lost must be False if the function raised",
    ),
    "BoastsOfSlots": (
        "test_as_many_calls_run_at_the_same_time_as_there_are_slots",
        "the other calls have not started",
    ),
    "CancelsOnlyTheFuture": (
        "test_work_that_was_cancelled_before_its_start_does_not_run",
        "`cancel` returned True, but the call ran",
    ),
    "ChainsErrors": (
        "test_an_exception_of_the_function_is_an_error_with_its_words",
        "EngineError is chained to ValueError",
    ),
    "ClosesOnce": ("test_an_engine_may_be_closed_twice", "AttributeError"),
    "DropsEmpty": ("test_the_result_of_a_call_is_returned", "== b''"),
    "EndsWithItsWorker": (
        "test_a_worker_that_dies_is_reported_as_lost_and_the_engine_goes_on",
        "the pool is broken",
    ),
    "ForgetsQueuedCalls": (
        "test_a_worker_that_dies_leaves_no_call_without_an_end",
        "a worker died, and a call has no result",
    ),
    "ForgetsItsCalls": ("test_close_ends_every_call", "a batch would wait for ever"),
    "HidesTheReason": (
        "test_an_exception_of_the_function_is_an_error_with_its_words",
        "must name the type of the exception",
    ),
    "KeepsItsWorkers": (
        "test_close_ends_the_workers_that_the_engine_started",
        "`close` must end the workers that the engine started",
    ),
    "RaisesForeignErrorsAtTheEnd": (
        "test_close_ends_every_call",
        "a call that `close` ends must raise EngineError, got RuntimeError",
    ),
    "ReturnsByteArrays": (
        "test_the_result_of_a_call_is_returned",
        "the result must be bytes, got bytearray",
    ),
    "WithdrawsRunningCalls": (
        "test_work_that_has_begun_is_not_withdrawn",
        "`cancel` returned True for a call that had begun",
    ),
    "NeverLost": (
        "test_a_worker_that_dies_is_reported_as_lost_and_the_engine_goes_on",
        "must have lost=True if the worker died",
    ),
    "RaisesForeignErrors": (
        "test_an_exception_of_the_function_is_an_error_with_its_words",
        "a failed call must raise EngineError, got RuntimeError",
    ),
    "RunsHere": ("test_a_call_runs_in_another_process", "ran in the process of the application"),
    "Waits": ("test_submit_does_not_wait_for_the_call", "submit waited for the call"),
}
GOOD = {"Good"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("engines.py", tmp_path_factory, found_by=FOUND_BY)


def test_a_correct_engine_passes(outcomes: Outcomes) -> None:
    found = {how for how, _ in outcomes["Good"].values()}
    assert found <= {"passed"}, list_failures(outcomes["Good"])


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_broken_engine_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_engine_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - GOOD == set(FOUND_BY)
