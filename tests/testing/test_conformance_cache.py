"""The conformance kit of caches passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, ended, run_kit

FOUND_BY = {
    "AMissIsEmpty": "assert b'' is None",
    "ClearLeavesWhatHasATtl": "clear left",
    "ClearsEverybody": "clear must leave the other namespace alone",
    "CutsLongKeys": "the value of another key was returned",
    "DeleteAlwaysSaysTrue": "assert True is False",
    "DeleteForgetsToDelete": "a deleted value must be gone",
    "DeleteSaysNothing": "assert None is",
    "DeleteTellsEverybodyYes": "one delete removes the value, the others find none",
    "DeletesWhatHasExpired": "what has expired is not there to be deleted",
    "DiagnosisHasNoReason": "a reason must be one line, got ''",
    "DiagnosisIsAList": "unavailable must return a mapping, got list",
    "DiagnosisNamesCommands": "unavailable names 'EVAL', which is not a method of the backend",
    "DiagnosisWrites": "unavailable changed the entries",
    "FindsByPrefix": "assert b'' is None",
    "HalfALease": "still to define: release",
    "HalfAColour": "still to define: aset, adelete, aclear",
    "IgnoresTtl": "the value was still there",
    "KeepsTheFirst": "set must replace what was there",
    "KeepsTheOldTtl": "a ttl of before must not end a value set without one",
    "KeysBearTheNamespace": "keys tells exactly the keys that are alive",
    "KeysBreakWhenChanged": "dictionary changed size during iteration",
    "KeysTellTheExpired": "keys tells exactly the keys that are alive",
    "LacksWhatItHas": "`lacks` names what the backend has: version",
    "LeasesAreEntries": "get must not see a lease",
    "LeasesAreNotRenewed": "a lease that was renewed has ended",
    "LeasesAreReleasedByAnybody": "another than its holder gave it back",
    "LeasesAreTakenOneAfterAnother": "a lease that several got at once is none",
    "LeasesForbidRenewal": "its holder may renew it",
    "LeasesGoWithClear": "the lease went with the entries",
    "LeasesNeverEnd": "a lease must end with its ttl",
    "LeasesToEverybody": "two holders have one lease",
    "LongTtlOverflows": "a ttl of 1e+11 s ended at once",
    "LosesWhatIsSetAtOnce": "values set at once were lost or mixed up",
    "ManyIsAThousandAtMost": "all that are there, however many",
    "ManyReturnsItsOwnBuffer": "values must be bytes, got bytearray",
    "ManyReturnsPairs": "get_many must return a mapping, got list",
    "ManySeesEverybody": "it is another namespace's",
    "ManyTakesAListOnly": "has no attribute 'copy'",
    "ManyTakesEmptyForAMiss": "an empty value is there",
    "ManyTellsMissesToo": "exactly what is there",
    "ManyTellsTheExpired": "what is over or deleted is not there",
    "ManyTellsValuesInTheirOrder": "exactly what is there",
    "ManyUsesUpTheList": "the caller's list was changed",
    "MatchesABackslashAsAnEscape": "after 'a\\\\*b'",
    "MatchesAndCountsTheExpired": "assert 701 == 700",
    "MatchesBeginnings": "after 'user'",
    "MatchesLikeAShell": "after 'user:[3]'",
    "MatchesOneLineOnly": "after 'a?b'",
    "NoCache": "define get, set, delete, clear, or their asynchronous twins aget",
    "NormalisesKeys": "the value of another key was returned",
    "RefusesLongKeys": "CacheError: the key is too long",
    "RefusesManyCallers": "callers got no value: CacheError('too many callers')",
    "ReturnsItsOwnBuffer": "get must return bytes, got bytearray",
    "ReturnsText": "get must return bytes, got str",
    "RoundsTtlDown": "a ttl of part of a second was gone at once",
    "SharesOneNamespace": "the other namespace's value was returned",
    "StripsValues": "bytes were set",
    "TakesAMegabyteAtMost": "CacheError: too large",
    "TakesAShortTtlForNone": "the value was still there",
    "TakesEmptyForAMiss": "get must return bytes, got NoneType",
    "TakesSecondsForMilliseconds": "a ttl is in seconds",
    "VersionCountsReads": "reading changed the version",
    "VersionIgnoresClear": "clear did not change the version",
    "VersionStays": "set did not change the version",
    "WatchDoesNotBegin": "that reports begin is told",
    "WatchIsDeafToDeletes": "delete of 'two' was not reported",
    "WritesInPieces": "a reader got a value that nobody set",
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
def test_a_correct_cache_passes_wholly_in_both_colours(outcomes: Outcomes, backend: str) -> None:
    both = outcomes[backend]
    assert {how for how, _ in both.values()} == {"passed"}, complaints(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 40


@pytest.mark.parametrize(
    ("backend", "lacking"), [("Memory", "async"), ("AsyncMemory", "sync"), ("Able", "async")]
)
def test_one_colour_is_enough_with_and_without_abilities(
    outcomes: Outcomes, backend: str, lacking: str
) -> None:
    assert complaints(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert how == "skipped", name
            assert f"has no {lacking} colour" in said
        elif how == "skipped":
            assert "does not offer" in said or "gives no second namespace" in said
    assert ended(outcomes[backend], "passed") > 40


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_broken_cache_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str, reason: str) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_cache_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Memory", "AsyncMemory", "Both", "Able", "AbleInBoth"} == set(FOUND_BY)
