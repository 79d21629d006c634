"""The conformance kit of language models tests batches: it passes correct ones, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

ONE_EACH = "exactly one result for each request"
FOUND_BY = {
    "ChangesTheRequests": (
        "test_the_requests_of_a_batch_are_not_changed",
        "submit must not change the caller's requests",
    ),
    "ForgetsTheTier": (
        "test_each_request_of_a_batch_gets_its_own_answer",
        "the tier must be 'batch', got 'default'",
    ),
    "HasNoLimits": ("test_the_limits_of_a_batch_are_positive", "max_requests must be greater than 0"),
    "IgnoresSince": ("test_a_new_batch_is_listed", "must leave out batches that were created before *since*"),
    "InventsBatches": ("test_an_unknown_batch_is_not_found", "NotFound"),
    "ListsNothing": ("test_a_new_batch_is_listed", "list_batches must include a batch that was just created"),
    "LosesAResult": ("test_each_request_of_a_batch_gets_its_own_answer", ONE_EACH),
    "LosesTheMetadata": ("test_a_new_batch_is_listed", "the metadata must be as submitted or None"),
    "MixesUpResults": (
        "test_each_request_of_a_batch_gets_its_own_answer",
        "a result has the answer to another request",
    ),
    "ReadsOnce": (
        "test_the_results_of_a_batch_can_be_read_again",
        "`results` must yield the same number of results when it is called a second time",
    ),
    "RefusesASecondCancel": ("test_a_batch_can_be_cancelled_at_any_time", "it has ended"),
    "RepeatsAResult": ("test_each_request_of_a_batch_gets_its_own_answer", ONE_EACH),
    "ReturnsAnId": (
        "test_each_request_of_a_batch_gets_its_own_answer",
        "submit must return a BatchStatus, got str",
    ),
    "YieldsUnrequestedResults": (
        "test_results_of_other_requests_are_left_out",
        "expected the result of one request",
    ),
}
OF_BATCHES = (
    "test_each_request_of_a_batch", "test_the_results_of_a_batch", "test_results_of_other_requests", "test_an_unknown_batch",
    "test_a_batch_can", "test_a_new_batch", "test_the_limits_of_a_batch", "test_the_requests_of_a_batch",
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("batches.py", tmp_path_factory, "-k", " or ".join(OF_BATCHES), found_by=FOUND_BY)


def test_correct_batches_pass_in_sync_and_async(outcomes: Outcomes) -> None:
    full = outcomes["Full"]
    assert {how for how, _ in full.values()} == {"passed"}, list_failures(full)
    assert sum("[sync" in name for name in full) == sum("[async" in name for name in full) == len(OF_BATCHES)


def test_batches_without_listing_and_limits_are_enough(outcomes: Outcomes) -> None:
    assert list_failures(outcomes["Plain"]) == []


@pytest.mark.parametrize("backend", FOUND_BY)
def test_broken_batches_fail_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_backend_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Full", "Plain"} == set(FOUND_BY)
