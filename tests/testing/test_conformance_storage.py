"""The conformance kit of storages passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, count_ended, list_failures, run_kit

pytestmark = pytest.mark.timeout(400)  # the kit runs over every backend in one go

FOUND_BY = {
    "Appends": ("test_saving_again_replaces_the_whole_file", "must replace the whole earlier file"),
    "BlocksUnderAnAsyncName": (
        "test_many_names_that_cannot_be_keys_hide_no_neighbour",
        "must be awaitable: write `async def aload`",
    ),
    "DeleteAlwaysSaysTrue": ("test_a_folder_is_not_a_file", "assert True is False"),
    "DeleteReturnsNone": ("test_a_folder_is_not_a_file", "assert None is"),
    "DeletesWholeFolders": (
        "test_a_folder_is_not_a_file",
        "delete of a folder's key must not delete its files",
    ),
    "FindsNothingEmpty": (
        "test_load_of_a_key_that_was_never_saved_raises_not_found",
        "must raise StorageNotFound, returned b''",
    ),
    "HalfAVariant": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "define also: asave, aexists, adelete, alist_files",
    ),
    "HalfAFileSystem": (
        "test_create_directory_may_be_repeated",
        "define also: create_directory, get_modified_time",
    ),
    "IgnoresCase": ("test_different_keys_are_different_files", "list_files must return both accepted keys"),
    "IsAsyncUnderABlockingName": (
        "test_many_names_that_cannot_be_keys_hide_no_neighbour",
        "rename an asynchronous method to aload",
    ),
    "KeepsTheFirst": ("test_saving_again_replaces_the_whole_file", "must replace the whole earlier file"),
    "ListsUnsorted": (
        "test_list_files_is_sorted_and_recursive",
        "list_files must return every key, sorted as text",
    ),
    "ListsWithoutLookingAtThePrefix": (
        "test_each_of_many_files_is_listed_once",
        "must return all keys with this prefix",
    ),
    "LosesTheLastByte": (
        "test_load_returns_the_bytes_that_were_saved",
        "load must return all 1048577 bytes, got 1048576",
    ),
    "MilliSeconds": ("test_times_do_not_depend_on_the_time_zone", "must be in seconds since 1970"),
    "NoStorage": (
        "test_a_folder_is_not_a_file",
        "define save, load, exists, delete, list_files, or the asynchronous methods asave",
    ),
    "NormalisesKeys": (
        "test_different_keys_are_different_files",
        "list_files must return both accepted keys",
    ),
    "RaisesKeyError": (
        "test_load_of_a_key_that_was_never_saved_raises_not_found",
        "must raise StorageNotFound, raised KeyError",
    ),
    "ReturnsText": ("test_load_returns_the_bytes_that_were_saved", "load must return bytes, got str"),
    "TakesAnyKey": (
        "test_a_key_that_is_not_a_relative_path_is_rejected",
        "save('../outside', b'hostile') must raise StorageKeyError, returned None",
    ),
    "TakesFoldersForFiles": ("test_a_folder_is_not_a_file", "must be False for a folder"),
    "TakesThePrefixForAFolder": (
        "test_each_of_many_files_is_listed_once",
        "must return all keys with this prefix",
    ),
    "WritesInPlace": (
        "test_concurrent_readers_get_the_old_or_the_new_file",
        "a reader must get one saved version, got a mixture of",
    ),
}


FOUND_BY_ABILITIES = {
    "ComparesThenSwaps": (
        "test_of_several_that_read_the_same_one_replaces_it",
        "exactly one of 8 saves must succeed, got 8",
    ),
    "CopiesAreLinks": (
        "test_a_copy_is_independent_of_its_source",
        "saving the copy must not change the source",
    ),
    "CopyKeepsWhatIsThere": (
        "test_a_copy_is_independent_of_its_source",
        "assert b'old and longer' == b'first'",
    ),
    "EtagChangesByReading": ("test_file_info_is_of_the_last_save", "reading must not change the ETag"),
    "EtagIsTheSize": (
        "test_each_way_to_read_metadata_reports_the_last_save",
        "the etag must change with the content",
    ),
    "HalfAStream": ("test_streams_save_and_load_every_byte", "define also: save_stream"),
    "IgnoresTheEtag": (
        "test_save_if_match_replaces_only_the_version_that_was_read",
        "must raise StorageChanged, returned",
    ),
    "IsRefusedForOneName": ("test_a_name_that_cannot_be_a_key_hides_no_neighbour", "StorageKeyError"),
    "ListsForeignNames": ("test_a_name_that_cannot_be_a_key_hides_no_neighbour", "the foreign file"),
    "LooksThenSaves": (
        "test_the_first_of_several_makes_the_file",
        "exactly one of 8 saves must succeed, got 8",
    ),
    "MoveLeavesTheOld": ("test_a_moved_file_has_its_new_key_only", "assert True is False"),
    "MovesOntoItselfToNothing": ("test_a_moved_file_has_its_new_key_only", "StorageNotFound"),
    "PagesByFolder": ("test_the_pages_together_list_every_file_once", "must list each file once, in order"),
    "PagesByNumber": ("test_pages_continue_while_files_are_saved_and_deleted", "assert ['many/"),
    "PagesIgnoreTheLimit": (
        "test_the_pages_together_list_every_file_once",
        "a page must have at most 1 files, got 2",
    ),
    "PagesRepeatTheLast": ("test_the_pages_together_list_every_file_once", "must list each file once, got"),
    "RefusesAndSavesAllTheSame": (
        "test_a_condition_that_cannot_be_held_is_refused_and_saves_nothing",
        "assert b'new' == b'old'",
    ),
    "SignsOneAddressForAll": ("test_a_signed_address_is_for_one_file_and_one_method", "assert 1 == 3"),
    "StreamsComeInOnePiece": (
        "test_a_large_file_is_loaded_in_pieces_of_at_most_16_mib",
        "must yield bytes of at most 16 MiB",
    ),
    "StreamsCountTheStopIn": (
        "test_load_stream_returns_the_requested_range",
        "load_stream must return the bytes from 0 to 1",
    ),
    "StreamsReadTwoVersions": (
        "test_a_reader_can_stop_early_and_reads_one_version",
        "all pieces must belong to the version that was first read",
    ),
    "StreamsSaveWhatBrokeOff": ("test_a_source_that_raises_leaves_the_old_file", "== b'old'"),
    "StreamsStopAtAnEmptyPiece": (
        "test_streams_save_and_load_every_byte",
        "save_stream must save every byte once",
    ),
    "StreamsTranslateWhatIsTheirs": (
        "test_a_source_that_raises_leaves_the_old_file",
        "must raise OSError, raised StorageError",
    ),
    "TellsMinutesAsTime": ("test_times_do_not_depend_on_the_time_zone", "must be in seconds since 1970"),
}
ALL_FOUND_BY = {**FOUND_BY, **FOUND_BY_ABILITIES}
CORRECT = {
    "Memory",
    "AsyncMemory",
    "Both",
    "BuiltOnTheLoop",
    "Able",
    "AbleInBoth",
    "HoldsNoConditions",
    "SkipsForeignNames",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Run the kit on every backend, as a third party would."""
    # One test is enough for the two backends that cannot be called at all.
    few = ("-k", "not (TestForgottenFixture or TestNoStorage) or a_folder_is_not_a_file")
    return {
        **run_kit("storage.py", tmp_path_factory, *few, found_by=FOUND_BY),
        **run_kit("storage_abilities.py", tmp_path_factory, found_by=FOUND_BY_ABILITIES),
    }


@pytest.mark.parametrize("backend", ["Both", "AbleInBoth"])
def test_a_correct_storage_passes_sync_and_async(outcomes: Outcomes, backend: str) -> None:
    both = outcomes[backend]
    assert {outcome for outcome, _ in both.values()} == {"passed"}, list_failures(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 60


@pytest.mark.parametrize("backend", ["Able", "HoldsNoConditions", "SkipsForeignNames"])
def test_a_correct_storage_of_one_variant_passes(outcomes: Outcomes, backend: str) -> None:
    assert {outcome for outcome, _ in outcomes[backend].values()} == {"passed"}, list_failures(
        outcomes[backend]
    )


@pytest.mark.parametrize(("backend", "lacking"), [("Memory", "async"), ("AsyncMemory", "sync")])
def test_one_variant_is_enough_and_the_other_is_skipped_with_its_reason(
    outcomes: Outcomes, backend: str, lacking: str
) -> None:
    for name, (outcome, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert outcome == "skipped", name
            assert f"has no {lacking} variant: it does not define" in said
        elif outcome != "passed":
            assert outcome == "skipped", name
            assert "does not define" in said, "of its own variant only the optional ability may be skipped"
    assert count_ended(outcomes[backend], "passed") > 60


def test_a_storage_may_be_built_on_the_event_loop_of_the_test(outcomes: Outcomes) -> None:
    assert count_ended(outcomes["BuiltOnTheLoop"], "passed") == count_ended(outcomes["AsyncMemory"], "passed")


@pytest.mark.parametrize("backend", ALL_FOUND_BY)
def test_a_broken_storage_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, ALL_FOUND_BY)


def test_every_broken_storage_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - CORRECT - {"ForgottenFixture"} == set(ALL_FOUND_BY)


def test_a_missing_fixture_is_reported_with_its_code(outcomes: Outcomes) -> None:
    assert {outcome for outcome, _ in outcomes["ForgottenFixture"].values()} == {"error"}
    said = next(iter(outcomes["ForgottenFixture"].values()))[1]
    assert "def provider(self, tmp_path):\n        return MyStorage(tmp_path)" in said
