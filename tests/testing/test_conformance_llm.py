"""The conformance kit of language models passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, ended, run_kit

FOUND_BY = {
    "AnnouncesAReportThatNeverComes": "track_sending was called, and mark_sent was not",
    "BoundsBelowItsCount": "the bound must not be below the count",
    "ChainsTheSdksError": "an SDK's error is chained",
    "ChangesTheRequest": "the request belongs to the caller",
    "ClaimsToBeExact": "has 3 tokens, counted as",
    "CountsBackwards": "input_tokens must be at least 0, got -3",
    "CountsBodiesOtherwise": "must equal count_tokens of its request",
    "CountsMoreThanItGuessed": "a count must not exceed the bound",
    "CountsPlainInts": "count_tokens must return a TokenCount",
    "CutsCharacters": "a character was split between deltas",
    "CutsSilently": "the finish_reason of an answer that was cut",
    "DecodesToolArguments": "ToolCall.arguments must be the JSON text",
    "ForgetsWhatCostsMore": "the answer costs",
    "GuessesTooLittle": "input_tokens, but most_usage returned 1",
    "HalfAVariant": "name the asynchronous method acomplete",
    "HoldsOnToAbandonedStreams": "the connection is busy",
    "KeepsItsKeyInTheOpen": "this repr shows the key: headers",
    "KnowsNoEnd": "the finish_reason must be 'stop', got None",
    "KnowsNoUsage": "input_tokens must be above 0",
    "LeavesCachedTokensOut": "input_tokens must include the cached tokens",
    "ListsOneText": "list_models must return a sequence of names, not one text",
    "MixesUpCalls": "concurrent calls got each other's answers",
    "NamesNoModel": "Reply.model must name the model that answered",
    "NoModel": "define complete, or the asynchronous methods acomplete",
    "RaisesKeyError": "KeyError: 'messages'",
    "ReturnsADict": "complete must return a Reply, got dict",
    "ReturnsNoText": "Reply.text must be a str, got NoneType",
    "SaysAlwaysTheSame": "different questions had equal answers",
    "SaysItsCallsNumber": "assert 'Once more. (1)' == 'Once more. (2)'",
    "SendsPiecesForABody": "DecodeError",
    "ShowsItsKey": "the backend's repr shows the key",
    "StreamsInOnePiece": "the whole answer came as one delta",
    "StreamsNoEnd": "the last delta must have the finish_reason",
    "StreamsStrings": "stream must yield Delta, got str",
    "StreamsTheTextSoFar": "the joined deltas differ from the answer",
    "StreamsUsageInEveryPiece": "exactly one delta must have usage, got 3",
    "TellsANumber": "most_usage must return a Usage or None, got int",
    "TellsItsKeyInErrors": "an error contains the key",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("llm.py", tmp_path_factory, found_by=FOUND_BY)


def test_a_correct_model_passes_sync_and_async(outcomes: Outcomes) -> None:
    full = outcomes["Full"]
    assert {how for how, _ in full.values()} == {"passed"}, complaints(full)
    assert sum("[sync" in name for name in full) == sum("[async" in name for name in full) > 40


@pytest.mark.parametrize(("backend", "lacking"), [("Plain", "async"), ("AsyncPlain", "sync")])
def test_one_variant_without_abilities_is_enough(outcomes: Outcomes, backend: str, lacking: str) -> None:
    assert complaints(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert how == "skipped", name
            assert f"has no {lacking} variant" in said
        elif how == "skipped":
            assert "does not offer" in said
    assert ended(outcomes[backend], "passed") > 25


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_broken_model_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str, reason: str) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_model_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Full", "Plain", "AsyncPlain"} == set(FOUND_BY)
