"""The conformance kit of caches passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kit_runner import Outcomes, complaints, ended, run_kit

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
    "FindsByPrefix": "assert b'' is None",
    "HalfAColour": "still to define: aset, adelete, aclear",
    "IgnoresTtl": "the value was still there",
    "KeepsTheFirst": "set must replace what was there",
    "KeepsTheOldTtl": "a ttl of before must not end a value set without one",
    "KeysBearTheNamespace": "keys tells exactly the keys that are alive",
    "KeysBreakWhenChanged": "dictionary changed size during iteration",
    "KeysTellTheExpired": "keys tells exactly the keys that are alive",
    "LongTtlOverflows": "a ttl of 1e+11 s ended at once",
    "LosesWhatIsSetAtOnce": "values set at once were lost or mixed up",
    "NoCache": "define get, set, delete, clear, or their asynchronous twins aget",
    "NormalisesKeys": "the value of another key was returned",
    "RefusesLongKeys": "CacheError: the key is too long",
    "ReturnsItsOwnBuffer": "get must return bytes, got bytearray",
    "ReturnsText": "get must return bytes, got str",
    "RoundsTtlDown": "a ttl of part of a second was gone at once",
    "SharesOneNamespace": "the other namespace's value was returned",
    "StripsValues": "bytes were set",
    "TakesAMegabyteAtMost": "CacheError: too large",
    "TakesAShortTtlForNone": "the value was still there",
    "TakesEmptyForAMiss": "get must return bytes, got NoneType",
    "TakesSecondsForMilliseconds": "a ttl is in seconds",
    "WritesInPieces": "a reader got a value that nobody set",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("kit_cache_backends.py", tmp_path_factory.mktemp("stranger"))


def test_a_correct_cache_passes_wholly_in_both_colours(outcomes: Outcomes) -> None:
    both = outcomes["Both"]
    assert {how for how, _ in both.values()} == {"passed"}, complaints(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 40


@pytest.mark.parametrize(("backend", "lacking"), [("Memory", "async"), ("AsyncMemory", "sync")])
def test_one_colour_without_abilities_is_enough(outcomes: Outcomes, backend: str, lacking: str) -> None:
    assert complaints(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert how == "skipped", name
            assert f"has no {lacking} colour" in said
        elif how == "skipped":
            assert "does not offer keys" in said or "gives no second namespace" in said
    assert ended(outcomes[backend], "passed") > 40


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_broken_cache_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str, reason: str) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_cache_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Memory", "AsyncMemory", "Both"} == set(FOUND_BY)
