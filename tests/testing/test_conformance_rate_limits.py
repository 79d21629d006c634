"""The kit of shared rate limits passes a correct store, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "CountsReports": ("test_living_processes_are_counted", "a process that reports again counts once"),
    "CountsWhoLeft": ("test_living_processes_are_counted", "a process that leaves must not count"),
    "FreesASlotForEachReturn": (
        "test_concurrency_is_limited_until_a_call_ends",
        "a permit that is returned twice must free one slot only",
    ),
    "GrantsEverything": ("test_a_rate_of_requests_is_kept", "a second request must wait for the rate"),
    "IgnoresRenewals": (
        "test_a_slot_that_is_not_renewed_becomes_free",
        "report_process must renew the slots that it names",
    ),
    "KeepsUnusedTokens": ("test_unused_tokens_are_refunded", "refunded tokens must be available at once"),
    "KeepsWhoLeft": (
        "test_a_call_that_stops_waiting_leaves_the_queue",
        "a call that has left must not hold back the next",
    ),
    "LimitsEachInstance": (
        "test_two_instances_share_a_limit",
        "5 of 24 calls of two instances must be granted, got 10",
    ),
    "LooksThenTakes": (
        "test_concurrent_calls_never_exceed_a_limit",
        "5 of 24 concurrent calls must be granted",
    ),
    "ModelsShareALimit": (
        "test_providers_and_models_have_limits_of_their_own",
        "another model has its own limit",
    ),
    "ServesTheLast": (
        "test_waiting_calls_are_served_in_the_order_of_their_arrival",
        "the call that arrived first must be served first",
    ),
    "ServesTheLastSlowly": (
        "test_waiting_calls_are_served_in_the_order_of_their_arrival",
        "the call that arrived first must be served first, but was not in any of 20 rounds",
    ),
    "SlotsNeverEnd": (
        "test_a_slot_that_is_not_renewed_becomes_free",
        "a slot must become free after its lease",
    ),
    "TakesBeforeItRefuses": (
        "test_all_scopes_are_taken_or_none",
        "a refused request must take nothing from its other scopes",
    ),
    "TokensAreFree": ("test_a_rate_of_tokens_is_kept", "more tokens must wait for the rate"),
}

CORRECT = ("Limits", "OnASlowMachine")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("rate_limits.py", tmp_path_factory, found_by=FOUND_BY)


@pytest.mark.parametrize("backend", CORRECT)
def test_a_correct_store_passes(outcomes: Outcomes, backend: str) -> None:
    assert list_failures(outcomes[backend]) == []
    assert {how for how, _ in outcomes[backend].values()} == {"passed"}


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_broken_store_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_store_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - set(CORRECT) == set(FOUND_BY)
