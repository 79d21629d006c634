"""The conformance kit of language models passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, count_ended, list_failures, run_kit

FOUND_BY = {
    "AnnouncesAReportThatNeverComes": (
        "test_a_tracked_request_is_reported_as_sent",
        "the method called track_sending but not mark_sent, so the ledger would record no cost",
    ),
    "BoundsBelowItsCount": ("test_count_tokens_grows_with_the_text", "the bound must not be below the count"),
    "ChainsTheSdksError": (
        "test_malformed_messages_are_answered_or_raise_bad_request",
        "the error must not chain an SDK's exception: use raise_unchained",
    ),
    "ChangesTheRequest": (
        "test_the_request_is_not_changed",
        "complete must not change the request",
    ),
    "ClaimsToBeExact": ("test_an_exact_count_equals_the_count_of_the_server", "has 3 tokens, counted as"),
    "CountsBackwards": ("test_usage_is_given_and_consistent", "input_tokens must be at least 0, got -3"),
    "CountsBodiesOtherwise": (
        "test_count_body_equals_count_tokens_of_the_request",
        "must equal count_tokens of its request",
    ),
    "CountsMoreThanItGuessed": (
        "test_exact_most_usage_is_enough_and_not_above_the_estimate",
        "most_usage with exact=True must not exceed exact=False",
    ),
    "CountsPlainInts": ("test_count_tokens_grows_with_the_text", "count_tokens must return a TokenCount"),
    "CutsCharacters": (
        "test_no_character_is_split_between_deltas",
        "a character must not be split between deltas",
    ),
    "CutsSilently": (
        "test_an_answer_cut_by_max_tokens_has_the_finish_reason_length",
        "a truncated answer must have the finish_reason 'length'",
    ),
    "DecodesToolArguments": (
        "test_a_required_tool_call_has_a_name_and_arguments_as_text",
        "ToolCall.arguments must be JSON text, not a decoded value",
    ),
    "ForgetsWhatCostsMore": (
        "test_no_answer_uses_more_than_most_usage",
        "the cost must not exceed that of most_usage",
    ),
    "GuessesTooLittle": (
        "test_no_answer_uses_more_than_most_usage",
        "input_tokens must not exceed most_usage (1)",
    ),
    "HalfAVariant": ("test_the_key_is_never_shown", "rename an asynchronous method to acomplete"),
    "HoldsOnToAbandonedStreams": ("test_a_stream_can_be_closed_early", "the connection is busy"),
    "KeepsItsKeyInTheOpen": ("test_the_key_is_never_shown", "this repr shows the key: headers"),
    "KnowsNoEnd": (
        "test_an_answer_has_a_text_a_model_and_a_finish_reason",
        "the finish_reason must be 'stop', got None",
    ),
    "KnowsNoUsage": (
        "test_usage_is_given_and_consistent",
        "input_tokens must be greater than 0; count them if the server does not",
    ),
    "LeavesCachedTokensOut": (
        "test_usage_is_given_and_consistent",
        "input_tokens must include the cached tokens",
    ),
    "ListsOneText": (
        "test_list_models_returns_distinct_names",
        "list_models must return a sequence of names, not one text",
    ),
    "MixesUpCalls": (
        "test_concurrent_calls_get_their_own_answers",
        "concurrent calls got each other's answers",
    ),
    "NamesNoModel": (
        "test_an_answer_has_a_text_a_model_and_a_finish_reason",
        "Reply.model must name the model that answered",
    ),
    "NoModel": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "define complete, or the asynchronous methods acomplete",
    ),
    "RaisesKeyError": ("test_the_key_is_never_shown", "KeyError: 'messages'"),
    "ReturnsADict": ("test_a_long_answer_is_streamed_to_its_end", "complete must return a Reply, got dict"),
    "ReturnsNoText": (
        "test_an_answer_has_a_text_a_model_and_a_finish_reason",
        "Reply.text must be a str, got NoneType",
    ),
    "SaysAlwaysTheSame": (
        "test_answers_depend_on_the_question",
        "different questions must have different answers",
    ),
    "SaysItsCallsNumber": (
        "test_the_same_request_has_the_same_answer",
        "assert 'Once more. (1)' == 'Once more. (2)'",
    ),
    "SendsPiecesForABody": ("test_the_body_is_a_json_object_or_empty", "DecodeError"),
    "ShowsItsKey": ("test_the_key_is_never_shown", "the backend's repr shows the key"),
    "StreamsInOnePiece": (
        "test_a_stream_has_several_deltas_and_the_last_one_has_the_finish_reason",
        "an answer must be split into several deltas",
    ),
    "StreamsNoEnd": (
        "test_a_stream_has_several_deltas_and_the_last_one_has_the_finish_reason",
        "the last delta must have the finish_reason",
    ),
    "StreamsStrings": (
        "test_a_streamed_answer_equals_the_answer_of_complete",
        "stream must yield Delta, got str",
    ),
    "StreamsTheTextSoFar": (
        "test_a_streamed_answer_equals_the_answer_of_complete",
        "the joined deltas must equal the answer of complete",
    ),
    "StreamsUsageInEveryPiece": (
        "test_a_stream_has_its_usage_once",
        "exactly one delta must have usage, got 3",
    ),
    "TellsANumber": (
        "test_no_answer_uses_more_than_most_usage",
        "most_usage must return a Usage or None, got int",
    ),
    "TellsItsKeyInErrors": ("test_the_key_is_never_shown", "an error contains the key"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("llm.py", tmp_path_factory, found_by=FOUND_BY)


def test_a_correct_model_passes_sync_and_async(outcomes: Outcomes) -> None:
    of_batches = ("submit", "batch")  # abilities that this model lacks
    full = {
        name: found
        for name, found in outcomes["Full"].items()
        if found[0] != "skipped" or not any(words in found[1] for words in of_batches)
    }
    assert {how for how, _ in full.values()} == {"passed"}, list_failures(full)
    assert sum("[sync" in name for name in full) == sum("[async" in name for name in full) > 40


@pytest.mark.parametrize(("backend", "lacking"), [("Plain", "async"), ("AsyncPlain", "sync")])
def test_one_variant_without_abilities_is_enough(outcomes: Outcomes, backend: str, lacking: str) -> None:
    assert list_failures(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert how == "skipped", name
            assert f"has no {lacking} variant" in said
        elif how == "skipped":
            assert "does not define" in said
    assert count_ended(outcomes[backend], "passed") > 25


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_broken_model_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_model_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Full", "Plain", "AsyncPlain"} == set(FOUND_BY)
