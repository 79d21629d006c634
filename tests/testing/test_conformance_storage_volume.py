"""The kit of storages finds faults with many and large files, unusual names, ranges, several users and metadata."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

_LISTS = "test_each_of_many_files_is_listed_once"
_SIZE = "test_a_file_of_the_largest_size_is_stored"
_COPIES = "test_names_beyond_ascii_are_copied_and_moved"
_NAMES = "test_names_and_sizes_beyond_ascii_are_exact"
_RANGE = "test_load_stream_returns_the_requested_range"
_VIEWS = "test_a_second_instance_sees_each_change_at_once"
_METADATA = "test_each_way_to_read_metadata_reports_the_last_save"
_ZONE = "test_times_do_not_depend_on_the_time_zone"
_REPLACED = "test_a_reader_gets_the_old_or_the_new_file_while_a_copy_replaces_it"
_CONDITIONS = "test_conditions_hold_between_two_instances"

FOUND_BY_VOLUME = {
    "CopiesAsciiNamesAlone": (_COPIES, "StorageNotFound"),
    "CopiesWithAPlusAsASpace": (_COPIES, "StorageNotFound"),
    "CountsCharacters": (_NAMES, "a size must be in bytes"),
    "CountsNegativeStartsFromTheEnd": (_RANGE, "must raise StorageError, returned"),
    "CutsAtItsLimit": (_SIZE, "must raise StorageError, returned None"),
    "DeletesWhatItCannotReplace": (_SIZE, "StorageNotFound"),
    "DropsTheLastPart": (_SIZE, "9000000 bytes were saved, 8388608 came back"),
    "FailsForAnEmptyFile": (_RANGE, "the range cannot be satisfied"),
    "FiltersThePageByPrefix": (_LISTS, "list_files('many/6/') must return all keys with this prefix"),
    "IgnoresTheRange": (_RANGE, "load_stream must return the bytes from 7 to 200000"),
    "IsEmptyBehindAnOffset": (_RANGE, "load_stream must return the bytes from 255999 to None"),
    "ListsQuotedNames": (_NAMES, "list_page must return each key unchanged"),
    "ListsTheFirstThousand": (_LISTS, "1500 files were saved, list_files returned 1000"),
    "LosesAFileBetweenPages": (_LISTS, "1500 files were saved, list_files returned 1499"),
    "MakesAFileOfEachPart": (_SIZE, "a large file must be one file"),
    "MovesDecodedNames": (_COPIES, "copy and move must use the unchanged keys"),
    "PagesOfAThousandAtMost": (_LISTS, "a page of 1500 after 0 of 1500 files has 1000 files"),
    "RaisesOverflowError": (_SIZE, "must raise StorageError, raised OverflowError"),
    "RefusesASingleByte": (_RANGE, "the range is invalid"),
    "RefusesBelowItsLimit": (_SIZE, "StorageFull"),
    "RepeatsAFileBetweenPages": (_LISTS, "1500 files were saved, list_files returned 1501"),
    "SavesLatinNames": (_NAMES, "list_files must return each key once"),
    "SortsAsUtf16": (_LISTS, "sorted by code point"),
    "SwapsLateParts": (_SIZE, "load must return the saved bytes"),
    "TakesTheFirstByteForTheWholeFile": (_RANGE, "load_stream must return the bytes from 0 to 1"),
    "TellsTheRequestedLength": (_RANGE, "load_stream must return the bytes from 255000 to 300000"),
}
FOUND_BY_SHARED = {
    "CachesContents": (_VIEWS, "load('a/file') of the second instance must return what was saved last"),
    "CachesItsLists": (_VIEWS, "list_files of the second instance must return"),
    "CachesMetadata": (
        _VIEWS,
        "get_file_info('a/file') of the second instance must be of what was saved last",
    ),
    "CachesWhatIsMissing": (_VIEWS, "exists('a/file') of the second instance must be True"),
    "ChecksItsOwnVersionsAlone": (_CONDITIONS, "DID NOT RAISE"),
    "ComparesListedEtagsLiterally": ("test_a_condition_accepts_the_etag_of_each_method", "StorageChanged"),
    "CopiesInPlace": (_REPLACED, "got bytes that are not one saved version"),
    "CopiesWithoutTheType": (_METADATA, "get_file_info reports 'application/octet-stream'"),
    "DeletesItsFilesAtTheEnd": ("test_closing_a_second_instance_leaves_the_first_usable", "StorageNotFound"),
    "DeletesTheSourceFirst": ("test_a_reader_finds_a_file_while_it_moves", "a reader found neither"),
    "FindsByPrefix": ("test_exists_is_true_for_saved_files_only", "assert True is False"),
    "FindsEachFolder": (
        "test_a_key_that_is_not_a_relative_path_is_rejected",
        "must raise StorageKeyError or return False",
    ),
    "ListsLocalTimes": (_ZONE, "the time of list_page must be in seconds since 1970-01-01 UTC"),
    "ListsQuotedEtags": (_METADATA, "the etags of a file must agree"),
    "ListsWhatIsGone": (_VIEWS, "list_files of the second instance must return"),
    "LocksInEachInstance": (
        "test_readers_of_a_second_instance_get_whole_files",
        "must get one saved version",
    ),
    "NumbersVersionsInEachInstance": (_CONDITIONS, "must give the same version the same ETag"),
    "ReportsSizesAsTexts": (_METADATA, "get_file_info must report a size of type int, got str"),
    "ReportsWhenItWasAsked": (_ZONE, "the time of get_file_info must be in seconds since 1970-01-01 UTC"),
    "ReportsWholeSeconds": (_METADATA, "get_file_info must report a time of type float, got int"),
    "StreamsKeepOldMetadata": (_METADATA, "get_file_info must report the 8 bytes of the last save, got 1"),
    "TakesLocalTimeForUtc": (_ZONE, "the time of get_file_info must be in seconds since 1970-01-01 UTC"),
    "UnlinksTheTargetFirst": (_REPLACED, "StorageNotFound"),
}
FOUND_BY = {**FOUND_BY_VOLUME, **FOUND_BY_SHARED}
CORRECT = {"Able", "SmallLimit", "Place"}
ABOUT = "many or largest or beyond_ascii or moves or copy_replaces or second_instance or metadata or time_zone or condition or range"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    chosen = ("-k", f"({ABOUT}) or not (TestAble or TestSmallLimit or TestPlace)")
    return {
        **run_kit("storage_volume.py", tmp_path_factory, *chosen, found_by=FOUND_BY_VOLUME),
        **run_kit("storage_shared.py", tmp_path_factory, *chosen, found_by=FOUND_BY_SHARED),
    }


@pytest.mark.parametrize("backend", sorted(CORRECT))
def test_a_correct_storage_passes(outcomes: Outcomes, backend: str) -> None:
    assert {how for how, _ in outcomes[backend].values()} == {"passed"}, list_failures(outcomes[backend])


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_broken_storage_fails_in_the_named_test(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_storage_has_a_named_test(outcomes: Outcomes) -> None:
    assert set(outcomes) - CORRECT == set(FOUND_BY)
