"""The conformance kit of caches passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, count_ended, list_failures, run_kit

FOUND_BY = {
    "AMissIsEmpty": ("test_any_text_of_1_to_512_characters_is_a_key", "assert b'' is None"),
    "CallsALargeValueAnOutage": (
        "test_get_returns_the_bytes_that_were_set",
        "the error for a too large value must be CacheError, not CacheUnavailable",
    ),
    "ClearLeavesWhatHasATtl": ("test_clear_removes_every_value", "clear must remove all"),
    "ClearsEverybody": ("test_namespaces_are_separate", "clear must not affect the other namespace"),
    "CutsLongKeys": ("test_keys_that_look_alike_are_kept_apart", "get returned the value of another key"),
    "DeleteAlwaysSaysTrue": ("test_delete_misses_an_entry_that_expired_unread", "assert True is False"),
    "DeleteForgetsToDelete": (
        "test_any_text_of_1_to_512_characters_is_a_key",
        "a deleted value must be gone",
    ),
    "DeleteReturnsNone": ("test_delete_misses_an_entry_that_expired_unread", "assert None is"),
    "DeleteTellsEverybodyYes": (
        "test_of_concurrent_deletes_exactly_one_returns_true",
        "exactly one concurrent delete must return True",
    ),
    "DeletesWhatHasExpired": (
        "test_a_value_is_a_miss_after_its_ttl",
        "delete of an expired value must return False",
    ),
    "DiagnosisHasNoReason": (
        "test_unavailable_returns_methods_with_reasons_and_changes_nothing",
        "a reason must be one line, got ''",
    ),
    "DiagnosisIsAList": (
        "test_unavailable_returns_methods_with_reasons_and_changes_nothing",
        "unavailable must return a mapping, got list",
    ),
    "DiagnosisNamesCommands": (
        "test_unavailable_returns_methods_with_reasons_and_changes_nothing",
        "unavailable must name methods of the backend, got 'EVAL'",
    ),
    "DiagnosisWrites": (
        "test_unavailable_returns_methods_with_reasons_and_changes_nothing",
        "unavailable must not change entries",
    ),
    "FindsByPrefix": ("test_a_miss_is_none", "assert b'' is None"),
    "HalfALease": ("test_a_lease_has_one_holder_until_it_is_released", "define also: release"),
    "HalfAVariant": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "define also: aset, adelete, aclear",
    ),
    "IgnoresTtl": (
        "test_setting_again_replaces_value_and_ttl",
        "a value with a short ttl still exists after",
    ),
    "KeepsTheFirst": (
        "test_setting_again_replaces_value_and_ttl",
        "set must replace the whole earlier value",
    ),
    "KeepsTheOldTtl": (
        "test_setting_again_replaces_value_and_ttl",
        "a value without ttl must not inherit the ttl of an earlier set",
    ),
    "KeepsTheOlderValue": (
        "test_a_value_that_is_refused_leaves_no_older_one",
        "set raised for a value, so get must not return an older value",
    ),
    "KeysBearTheNamespace": (
        "test_keys_returns_the_keys_that_have_a_value",
        "keys must return exactly the existing keys",
    ),
    "KeysBreakWhenChanged": (
        "test_keys_may_be_set_and_deleted_while_they_are_read",
        "dictionary changed size during iteration",
    ),
    "KeysTellTheExpired": (
        "test_keys_returns_the_keys_that_have_a_value",
        "keys must return exactly the existing keys",
    ),
    "LacksWhatItHas": (
        "test_abilities_in_lacks_are_missing",
        "remove from `lacks` the abilities that the backend has: version",
    ),
    "LeasesAreEntries": ("test_a_lease_is_not_an_entry", "get must not return a lease"),
    "LeasesAreNotRenewed": (
        "test_a_lease_ends_after_its_ttl_unless_it_is_renewed",
        "a renewed lease ended too early",
    ),
    "LeasesAreReleasedByAnybody": (
        "test_a_lease_has_one_holder_until_it_is_released",
        "only the holder may release a lease",
    ),
    "LeasesAreTakenOneAfterAnother": (
        "test_of_concurrent_callers_exactly_one_gets_the_lease",
        "exactly one concurrent caller must get the lease",
    ),
    "LeasesForbidRenewal": (
        "test_a_lease_has_one_holder_until_it_is_released",
        "the holder must be able to renew",
    ),
    "LeasesGoWithClear": ("test_a_lease_is_not_an_entry", "deleting entries must not release a lease"),
    "LeasesNeverEnd": (
        "test_a_lease_ends_after_its_ttl_unless_it_is_renewed",
        "a lease must end after its ttl",
    ),
    "LeasesToEverybody": (
        "test_a_lease_has_one_holder_until_it_is_released",
        "a lease must have at most one holder",
    ),
    "LongTtlOverflows": ("test_a_long_ttl_does_not_end_at_once", "a ttl of 1e+11 s expired at once"),
    "LosesWhatIsSetAtOnce": (
        "test_values_set_concurrently_are_all_kept",
        "concurrent sets lost or mixed up values",
    ),
    "ManyIsAThousandAtMost": (
        "test_get_many_takes_any_sequence_and_does_not_change_it",
        "get_many must return all values",
    ),
    "ManyReturnsItsOwnBuffer": (
        "test_get_many_and_get_return_the_same_values",
        "values must be bytes, got bytearray",
    ),
    "ManyReturnsPairs": (
        "test_get_many_and_get_return_the_same_values",
        "get_many must return a mapping, got list",
    ),
    "ManySeesEverybody": (
        "test_get_many_and_get_return_the_same_values",
        "get_many returned a value of another namespace",
    ),
    "ManyTakesAListOnly": (
        "test_get_many_takes_any_sequence_and_does_not_change_it",
        "has no attribute 'copy'",
    ),
    "ManyTakesEmptyForAMiss": ("test_get_many_and_get_return_the_same_values", "an empty value is a value"),
    "ManyTellsMissesToo": (
        "test_get_many_returns_the_values_of_the_keys_that_exist",
        "get_many must return exactly the existing keys",
    ),
    "ManyTellsTheExpired": (
        "test_get_many_returns_the_values_of_the_keys_that_exist",
        "get_many must omit expired and deleted values",
    ),
    "ManyTellsValuesInTheirOrder": (
        "test_get_many_returns_the_values_of_the_keys_that_exist",
        "get_many must return exactly the existing keys",
    ),
    "ManyUsesUpTheList": (
        "test_get_many_takes_any_sequence_and_does_not_change_it",
        "get_many changed the caller's list",
    ),
    "MatchesABackslashAsAnEscape": (
        "test_delete_matching_deletes_the_matching_keys_only",
        "delete_matching('a\\\\*b') must leave exactly the keys",
    ),
    "MatchesAndCountsTheExpired": ("test_delete_matching_does_not_count_expired_keys", "assert 701 == 700"),
    "MatchesBeginnings": (
        "test_delete_matching_deletes_the_matching_keys_only",
        "delete_matching('user') must leave exactly the keys",
    ),
    "MatchesLikeAShell": (
        "test_delete_matching_deletes_the_matching_keys_only",
        "delete_matching('user:[3]') must leave exactly the keys",
    ),
    "MatchesOneLineOnly": (
        "test_delete_matching_deletes_the_matching_keys_only",
        "delete_matching('a?b') must leave exactly the keys",
    ),
    "NoCache": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "define get, set, delete, clear, or the asynchronous methods aget",
    ),
    "NormalisesKeys": ("test_keys_that_look_alike_are_kept_apart", "get returned the value of another key"),
    "RefusesAKilobyte": ("test_get_returns_the_bytes_that_were_set", "set must accept a value of"),
    "RefusesLongKeys": ("test_any_text_of_1_to_512_characters_is_a_key", "CacheError: the key is too long"),
    "RefusesManyCallers": (
        "test_concurrent_first_calls_of_a_new_process_all_get_their_values",
        "concurrent callers got no value: CacheError('too many callers')",
    ),
    "ReturnsItsOwnBuffer": (
        "test_get_returns_the_bytes_that_were_set",
        "get must return bytes, got bytearray",
    ),
    "ReturnsText": ("test_get_returns_the_bytes_that_were_set", "get must return bytes, got str"),
    "RoundsTtlDown": (
        "test_a_ttl_is_not_rounded_to_zero",
        "a value with a fractional ttl must not expire at once",
    ),
    "SharesOneNamespace": ("test_namespaces_are_separate", "get returned a value of the other namespace"),
    "StripsValues": ("test_get_returns_the_bytes_that_were_set", "get must return all"),
    "TakesAMegabyteAtMost": (
        "test_get_returns_the_bytes_that_were_set",
        "the error must name the size of the value",
    ),
    "TakesAShortTtlForNone": (
        "test_setting_again_replaces_value_and_ttl",
        "a value with a short ttl still exists after",
    ),
    "TakesEmptyForAMiss": ("test_get_returns_the_bytes_that_were_set", "get must return bytes, got NoneType"),
    "TakesSecondsForMilliseconds": ("test_a_ttl_counts_seconds", "a ttl is in seconds"),
    "VersionCountsReads": (
        "test_writing_changes_the_version_and_reading_does_not",
        "reading must not change the version",
    ),
    "VersionIgnoresClear": (
        "test_writing_changes_the_version_and_reading_does_not",
        "clear must change the version",
    ),
    "VersionStays": (
        "test_writing_changes_the_version_and_reading_does_not",
        "set must change the version",
    ),
    "WatchDoesNotBegin": (
        "test_a_watcher_receives_the_keys_that_are_written_or_deleted",
        "watch must first report a list",
    ),
    "WatchIsDeafToDeletes": (
        "test_a_watcher_receives_the_keys_that_are_written_or_deleted",
        "watch must report delete of 'two'",
    ),
    "WritesInPieces": ("test_concurrent_readers_get_whole_values", "a reader got a value that was never set"),
}


pytestmark = pytest.mark.timeout(400)
"""The first test waits for two kits to run, each with some twenty broken backends, of which many wait for a ttl."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return {
        **run_kit("cache.py", tmp_path_factory, found_by=FOUND_BY),
        **run_kit("cache_abilities.py", tmp_path_factory, found_by=FOUND_BY),
    }


@pytest.mark.parametrize("backend", ["Both", "AbleInBoth"])
def test_a_correct_cache_passes_sync_and_async(outcomes: Outcomes, backend: str) -> None:
    both = outcomes[backend]
    assert {how for how, _ in both.values()} == {"passed"}, list_failures(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 40


@pytest.mark.parametrize(
    ("backend", "lacking"), [("Memory", "async"), ("AsyncMemory", "sync"), ("Able", "async")]
)
def test_one_variant_is_enough_with_and_without_abilities(
    outcomes: Outcomes, backend: str, lacking: str
) -> None:
    assert list_failures(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert how == "skipped", name
            assert f"has no {lacking} variant" in said
        elif how == "skipped":
            assert "does not define" in said
    assert count_ended(outcomes[backend], "passed") > 40


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_broken_cache_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_cache_has_an_expected_message(outcomes: Outcomes) -> None:
    correct = {"Memory", "AsyncMemory", "Both", "Able", "AbleInBoth", "TakesAMegabyteAtMostAndSaysSo"}
    assert set(outcomes) - correct == set(FOUND_BY)


def test_a_cache_may_have_a_limit_that_it_names(outcomes: Outcomes) -> None:
    assert list_failures(outcomes["TakesAMegabyteAtMostAndSaysSo"]) == []
