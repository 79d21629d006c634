"""The conformance kit of caches passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, ended, run_kit

FOUND_BY = {
    "AMissIsEmpty": "assert b'' is None",
    "CallsALargeValueAnOutage": "a value that is too large is not an outage",
    "ClearLeavesWhatHasATtl": "clear left",
    "ClearsEverybody": "clear must leave the other namespace alone",
    "CutsLongKeys": "get returned the value of another key",
    "DeleteAlwaysSaysTrue": "assert True is False",
    "DeleteForgetsToDelete": "a deleted value must be gone",
    "DeleteSaysNothing": "assert None is",
    "DeleteTellsEverybodyYes": "one delete must return True",
    "DeletesWhatHasExpired": "delete of an expired value must return False",
    "DiagnosisHasNoReason": "a reason must be one line, got ''",
    "DiagnosisIsAList": "unavailable must return a mapping, got list",
    "DiagnosisNamesCommands": "unavailable names 'EVAL', which is not a method of the backend",
    "DiagnosisWrites": "unavailable changed the entries",
    "FindsByPrefix": "assert b'' is None",
    "HalfALease": "define also: release",
    "HalfAVariant": "define also: aset, adelete, aclear",
    "IgnoresTtl": "get still returned the value",
    "KeepsTheFirst": "set must replace the whole earlier value",
    "KeepsTheOldTtl": "the ttl of an earlier set must not end",
    "KeepsTheOlderValue": "a value was refused, and get returned an older one",
    "KeysBearTheNamespace": "keys must return exactly the keys",
    "KeysBreakWhenChanged": "dictionary changed size during iteration",
    "KeysTellTheExpired": "keys must return exactly the keys",
    "LacksWhatItHas": "`lacks` names what the backend has: version",
    "LeasesAreEntries": "get must not see a lease",
    "LeasesAreNotRenewed": "a lease that was renewed has ended",
    "LeasesAreReleasedByAnybody": "only the holder may release a lease",
    "LeasesAreTakenOneAfterAnother": "exactly one of concurrent callers must get the lease",
    "LeasesForbidRenewal": "the holder must be able to renew",
    "LeasesGoWithClear": "deleting entries must not end a lease",
    "LeasesNeverEnd": "a lease must end after its ttl",
    "LeasesToEverybody": "two holders have the same lease",
    "LongTtlOverflows": "a ttl of 1e+11 s expired at once",
    "LosesWhatIsSetAtOnce": "values set concurrently were lost or mixed up",
    "ManyIsAThousandAtMost": "get_many must return all values",
    "ManyReturnsItsOwnBuffer": "values must be bytes, got bytearray",
    "ManyReturnsPairs": "get_many must return a mapping, got list",
    "ManySeesEverybody": "get_many returned a value of another namespace",
    "ManyTakesAListOnly": "has no attribute 'copy'",
    "ManyTakesEmptyForAMiss": "an empty value is a value",
    "ManyTellsMissesToo": "exactly the keys that exist",
    "ManyTellsTheExpired": "get_many must leave out expired",
    "ManyTellsValuesInTheirOrder": "exactly the keys that exist",
    "ManyUsesUpTheList": "get_many changed the caller's list",
    "MatchesABackslashAsAnEscape": "after 'a\\\\*b'",
    "MatchesAndCountsTheExpired": "assert 701 == 700",
    "MatchesBeginnings": "after 'user'",
    "MatchesLikeAShell": "after 'user:[3]'",
    "MatchesOneLineOnly": "after 'a?b'",
    "NoCache": "define get, set, delete, clear, or the asynchronous methods aget",
    "NormalisesKeys": "get returned the value of another key",
    "RefusesAKilobyte": "bytes was refused",
    "RefusesLongKeys": "CacheError: the key is too long",
    "RefusesManyCallers": "callers got no value: CacheError('too many callers')",
    "ReturnsItsOwnBuffer": "get must return bytes, got bytearray",
    "ReturnsText": "get must return bytes, got str",
    "RoundsTtlDown": "not a whole number of seconds expired at once",
    "SharesOneNamespace": "get returned the value of the other namespace",
    "StripsValues": "bytes were set",
    "TakesAMegabyteAtMost": "the error must name the size of the value",
    "TakesAShortTtlForNone": "get still returned the value",
    "TakesEmptyForAMiss": "get must return bytes, got NoneType",
    "TakesSecondsForMilliseconds": "a ttl is in seconds",
    "VersionCountsReads": "reading changed the version",
    "VersionIgnoresClear": "clear did not change the version",
    "VersionStays": "set did not change the version",
    "WatchDoesNotBegin": "watch must first report a list",
    "WatchIsDeafToDeletes": "delete of 'two' was not reported",
    "WritesInPieces": "a reader got a value that was never set",
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
    assert {how for how, _ in both.values()} == {"passed"}, complaints(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 40


@pytest.mark.parametrize(
    ("backend", "lacking"), [("Memory", "async"), ("AsyncMemory", "sync"), ("Able", "async")]
)
def test_one_variant_is_enough_with_and_without_abilities(
    outcomes: Outcomes, backend: str, lacking: str
) -> None:
    assert complaints(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert how == "skipped", name
            assert f"has no {lacking} variant" in said
        elif how == "skipped":
            assert "does not offer" in said or "gives no second namespace" in said
    assert ended(outcomes[backend], "passed") > 40


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_broken_cache_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str, reason: str) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_cache_has_an_expected_message(outcomes: Outcomes) -> None:
    correct = {"Memory", "AsyncMemory", "Both", "Able", "AbleInBoth", "TakesAMegabyteAtMostAndSaysSo"}
    assert set(outcomes) - correct == set(FOUND_BY)


def test_a_cache_may_have_a_limit_that_it_names(outcomes: Outcomes) -> None:
    assert complaints(outcomes["TakesAMegabyteAtMostAndSaysSo"]) == []
