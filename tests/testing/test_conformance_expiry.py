"""The kit of caches finds entries that expired unread, and entries past the first page."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "ClearsAThousandAtMost": (
        "test_clear_removes_more_than_one_page",
        "clear must remove all of 1,500 entries",
    ),
    "DeleteFindsWhatExpiredUnread": (
        "test_delete_misses_an_entry_that_expired_unread",
        "delete must return False for an entry that has expired unread",
    ),
    "KeysAreAThousandAtMost": (
        "test_keys_lists_more_than_one_page",
        "keys must yield all 1,500 keys, got 1,000",
    ),
    "KeysComeTwice": (
        "test_keys_lists_more_than_one_page",
        "keys must yield each key once, got 5 duplicates",
    ),
    "KeysTellWhatExpiredUnread": (
        "test_keys_leaves_out_entries_that_expired_unread",
        "keys must omit entries that have expired unread",
    ),
    "ManyFindsWhatExpiredUnread": (
        "test_get_many_leaves_out_entries_that_expired_unread",
        "get_many must omit entries that have expired unread",
    ),
    "MatchingCountsWhatExpiredUnread": (
        "test_delete_matching_does_not_count_entries_that_expired_unread",
        "delete_matching must not count entries that have expired unread, got 2",
    ),
    "SetAddsToWhatExpiredUnread": (
        "test_an_entry_that_expired_unread_can_be_set_again",
        "set must replace an entry that has expired unread",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("cache_expiry.py", tmp_path_factory, "-k", "expired_unread or one_page", found_by=FOUND_BY)


@pytest.mark.timeout(300)
def test_a_correct_cache_passes(outcomes: Outcomes) -> None:
    assert list_failures(outcomes["Server"]) == []
    assert any(how == "passed" for how, _ in outcomes["Server"].values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_cache_that_is_wrong_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_cache_that_is_wrong_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Server"} == set(FOUND_BY)
