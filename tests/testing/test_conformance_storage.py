"""The conformance kit of storages passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, ended, run_kit

pytestmark = pytest.mark.timeout(400)  # the kit runs over every backend in one go

FOUND_BY = {
    "Appends": "must replace the whole earlier file",
    "BlocksUnderAnAsyncName": "must be awaitable: write `async def aload`",
    "DeleteAlwaysSaysTrue": "assert True is False",
    "DeleteSaysNothing": "assert None is",
    "DeletesWholeFolders": "must not touch its files",
    "FindsNothingEmpty": "must raise StorageNotFound, returned b''",
    "HalfAVariant": "define also: asave, aexists, adelete, alist_files",
    "HalfAFileSystem": "define also: create_directory, get_modified_time",
    "IgnoresCase": "both keys were accepted",
    "IsAsyncUnderABlockingName": "name the asynchronous method aload",
    "KeepsTheFirst": "must replace the whole earlier file",
    "ListsUnsorted": "returns every key, sorted as text",
    "ListsWithoutLookingAtThePrefix": "must return the keys with this prefix",
    "LosesTheLastByte": "1048577 bytes were saved, 1048576 came back",
    "MilliSeconds": "must be in seconds since 1970",
    "NoStorage": "define save, load, exists, delete, list_files, or the asynchronous methods asave",
    "NormalisesKeys": "both keys were accepted",
    "RaisesKeyError": "must raise StorageNotFound, raised KeyError",
    "ReturnsText": "load must return bytes, got str",
    "TakesAnyKey": "save('../outside', b'hostile') must raise StorageKeyError, returned None",
    "TakesFoldersForFiles": "must be False for a folder",
    "TakesThePrefixForAFolder": "must return the keys with this prefix",
    "WritesInPlace": "that are not one saved version",
}


FOUND_BY_ABILITIES = {
    "ComparesThenSwaps": "of 8 wins, here 8",
    "CopiesAreLinks": "saving the copy must not change its source",
    "CopyKeepsWhatIsThere": "assert b'old and longer' == b'first'",
    "EtagChangesByReading": "reading must not change the etag",
    "EtagIsTheSize": "the etag must change with the content",
    "HalfAStream": "define also: save_stream",
    "IgnoresTheEtag": "must raise StorageChanged, returned",
    "IsRefusedForOneName": "StorageKeyError",
    "ListsForeignNames": "next to",
    "LooksThenSaves": "of 8 wins, here 8",
    "MoveLeavesTheOld": "assert True is False",
    "MovesOntoItselfToNothing": "StorageNotFound",
    "PagesByFolder": "list its files once, sorted",
    "PagesByNumber": "assert ['many/",
    "PagesIgnoreTheLimit": "a page must have at most 1 files, got 2",
    "PagesRepeatTheLast": "list too many files",
    "RefusesAndSavesAllTheSame": "assert b'new' == b'old'",
    "SignsOneAddressForAll": "assert 1 == 3",
    "StreamsComeInOnePiece": "must yield bytes of at most 16 MiB",
    "StreamsCountTheStopIn": "bytes 0 to 1",
    "StreamsReadTwoVersions": "of the version whose reading began",
    "StreamsSaveWhatBrokeOff": "== b'old'",
    "StreamsStopAtAnEmptyPiece": "assert b'' == b'",
    "StreamsTranslateWhatIsTheirs": "must raise OSError, raised StorageError",
    "TellsMinutesAsTime": "must be in seconds since 1970",
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
    assert {outcome for outcome, _ in both.values()} == {"passed"}, complaints(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 60


@pytest.mark.parametrize("backend", ["Able", "HoldsNoConditions", "SkipsForeignNames"])
def test_a_correct_storage_of_one_variant_passes(outcomes: Outcomes, backend: str) -> None:
    assert {outcome for outcome, _ in outcomes[backend].values()} == {"passed"}, complaints(outcomes[backend])


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
            assert "does not offer" in said, "of its own variant only the optional ability may be skipped"
    assert ended(outcomes[backend], "passed") > 60


def test_a_storage_may_be_built_on_the_event_loop_of_the_test(outcomes: Outcomes) -> None:
    assert ended(outcomes["BuiltOnTheLoop"], "passed") == ended(outcomes["AsyncMemory"], "passed")


@pytest.mark.parametrize(("backend", "reason"), ALL_FOUND_BY.items(), ids=ALL_FOUND_BY)
def test_a_broken_storage_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str, reason: str
) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_storage_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - CORRECT - {"ForgottenFixture"} == set(ALL_FOUND_BY)


def test_a_missing_fixture_is_reported_with_its_code(outcomes: Outcomes) -> None:
    assert {outcome for outcome, _ in outcomes["ForgottenFixture"].values()} == {"error"}
    said = next(iter(outcomes["ForgottenFixture"].values()))[1]
    assert "def provider(self, tmp_path):\n        return MyStorage(tmp_path)" in said
