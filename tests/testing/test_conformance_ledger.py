"""The conformance kit of ledgers passes correct ledgers, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "AlertsEveryone": ("test_an_alert_is_claimed_once", "[True, True] == [True, False]"),
    "TakesEveryOwnerForDead": (
        "test_the_ledger_works_after_it_was_closed",
        "recover must not settle rows of a process that is alive",
    ),
    "ChecksBeforehand": ("test_threads_never_exceed_a_limit", "== 10"),
    "DropsCancelled": (
        "test_a_cancelled_task_leaves_no_row_that_no_caller_knows",
        "a cancelled areserve must not leave an open row that the caller did not get",
    ),
    "ForgetsPruned": ("test_the_sums_of_pruned_rows_stay", "assert ["),
    "IgnoresFilters": ("test_rows_are_filtered_and_ordered", "== [2]"),
    "KeepsReservations": (
        "test_a_reservation_opens_a_row_and_a_settlement_closes_it",
        "[(30, 70)] == [(30, 0)]",
    ),
    "NeedsTheRow": ("test_a_row_is_found_by_its_key", "assert"),
    "NeverRecovers": ("test_the_rows_of_a_process_that_died_are_settled_at_their_maximum", "'open'"),
    "NeverRefuses": (
        "test_a_limit_that_is_too_small_refuses_and_changes_nothing",
        "reserve must return a Refusal for 41 if only 40 are left",
    ),
    "OnlyUtc": ("test_days_and_hours_are_those_of_the_offset", "hours ahead of UTC"),
    "OpensTwice": ("test_a_repeated_reservation_finds_its_row", "row"),
    "OwnsEverything": (
        "test_rows_of_a_run_that_outlives_its_process_are_settled_by_a_later_one",
        "recover must settle the row of the run whose time has passed",
    ),
    "PrunesOpenRows": ("test_pruned_rows_stay_counted", "[] == ['done', 'open']"),
    "RecordsTwice": ("test_a_batch_is_recorded_once_and_counted", "hit"),
    "ForgetsClosing": ("test_only_an_open_run_has_claims", "claim_items must return None for a closed run"),
    "KeepsDeadClaims": (
        "test_the_items_of_a_process_that_died_are_taken_over",
        "the items of a dead process must become free",
    ),
    "ReplacesAnswers": (
        "test_an_item_is_claimed_once_and_its_answer_is_shared",
        "a late answer must not replace the first answer",
    ),
    "SharesItems": (
        "test_an_item_is_claimed_once_and_its_answer_is_shared",
        "an item must have at most one claim",
    ),
    "SharesKeys": (
        "test_keys_are_stored_and_revoked",
        "insert_key must return False if the name has a valid key",
    ),
}
COUNTING_FOUND_BY = {
    "AlertsAgainAfterARestart": ("test_an_alert_is_claimed_once", "a restart must not repeat an alert"),
    "ChargesHits": ("test_a_batch_is_recorded_once_and_counted", "hit"),
    "CountsAlone": ("test_two_processes_share_budgets", "isinstance"),
    "CountsOnlyAnswers": (
        "test_failures_are_requests_too",
        "requests must include the failed ones, and failures must count them",
    ),
    "CountsRefusals": ("test_a_limit_that_is_too_small_refuses_and_changes_nothing", "(0, 101) == (0, 60)"),
    "DaysKeepTheSpend": ("test_a_period_counts_only_its_own_rows", "'day': 3"),
    "DropsRowsOfTheDead": (
        "test_the_rows_of_a_process_that_died_are_settled_at_their_maximum",
        "[] == [('lost'",
    ),
    "HidesFailures": (
        "test_a_failed_request_keeps_its_row_and_releases_its_reservation",
        "[] == [('failed'",
    ),
    "KeepsCancelledReservations": ("test_a_request_that_was_not_made_leaves_no_row", "== []"),
    "KeepsWhatFailuresReserved": (
        "test_a_failed_request_keeps_its_row_and_releases_its_reservation",
        "the reservation of a failed request must be released",
    ),
    "LimitsBeforeItFilters": (
        "test_rows_are_filtered_and_ordered",
        "limit must count only the rows that match the filters",
    ),
    "NamesAreNeverFree": (
        "test_a_revoked_key_stays_revoked_and_frees_its_name",
        "insert_key must accept the name of a revoked key",
    ),
    "NeverLimitsRequests": ("test_the_requests_of_a_key_are_limited", "0 < 0.0"),
    "ReadersBlockWriters": (
        "test_rows_that_are_added_meanwhile_do_not_block_a_reader",
        "database is locked",
    ),
    "RevocationsEndWithTheProcess": (
        "test_a_revoked_key_stays_revoked_and_frees_its_name",
        "a restart must not make a revoked key valid",
    ),
    "RevokesNothing": ("test_keys_are_stored_and_revoked", "[None] == [5.0]"),
    "RoundsToCents": (
        "test_a_reservation_opens_a_row_and_a_settlement_closes_it",
        "[(0, 0)] == [(30, 0)]",
    ),
    "SettlesTwice": ("test_a_repeated_settlement_changes_nothing", "(40, 0)"),
    "UncertainCostsNothing": ("test_sums_by_several_dimensions", "5, 0, 8"),
    "WeeksBeginOnSunday": ("test_weeks_begin_on_monday", "a week must end on Sunday"),
}
_OUTCOME = "test_a_closed_row_has_the_whole_outcome"
_SELECTED = "test_rows_and_reports_are_selected_by_time_and_each_filter"
CONTENTS_FOUND_BY = {
    "BatchesOfAnInstance": (
        "test_two_instances_record_a_batch_once",
        "a batch that another process has recorded must change nothing",
    ),
    "ComparesThenClaims": (
        "test_of_several_threads_one_claims_an_alert",
        "exactly one of 8 threads must claim an alert",
    ),
    "DropsRequestIds": (_OUTCOME, "a row must have the fields of its Outcome"),
    "DropsTiers": ("test_an_open_row_has_the_whole_charge", "an open row must have the fields of its charge"),
    "DropsTokens": (_OUTCOME, "a row must have the tokens of Outcome.usage"),
    "ListsFromTheBeginning": (_SELECTED, "iterate_rows must return only the matching rows with"),
    "RecordsNoCharacters": (
        "test_recorded_rows_count_in_every_unit",
        "record must add the cost and the characters",
    ),
    "ReportsFromTheBeginning": (_SELECTED, "aggregate must sum only the matching rows with"),
    "SortsBackwards": (
        "test_budgets_are_sorted_by_their_text",
        "read_budgets must sort the counters by their text",
    ),
    "SumsNoOutput": ("test_a_report_sums_each_number", "'output_tokens': (0, 20)"),
    "TakesMillisecondsForSeconds": (_OUTCOME, "must be in milliseconds"),
}
GOOD = {"Sync"}
EVERY = FOUND_BY | COUNTING_FOUND_BY | CONTENTS_FOUND_BY


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    counting = run_kit("ledger_counting.py", tmp_path_factory, found_by=COUNTING_FOUND_BY)
    contents = run_kit("ledger_contents.py", tmp_path_factory, found_by=CONTENTS_FOUND_BY)
    return {**run_kit("ledger.py", tmp_path_factory, found_by=FOUND_BY), **counting, **contents}


def test_a_correct_ledger_passes(outcomes: Outcomes) -> None:
    found = {how for how, _ in outcomes["Sync"].values()}
    assert found <= {"passed", "skipped"}, list_failures(outcomes["Sync"])


@pytest.mark.parametrize("backend", EVERY)
def test_a_broken_ledger_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, EVERY)


def test_every_broken_ledger_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - GOOD == set(EVERY)
