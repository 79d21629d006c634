"""The kit of language models finds what is lost of long and unusual requests and answers."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "AsksItsOwnModel": (
        "test_the_server_gets_the_model_of_the_request",
        "complete must send the model of the request or raise an error",
    ),
    "CountsOneTokenForEveryAnswer": (
        "test_usage_grows_with_the_answer",
        "output_tokens must grow with the answer:",
    ),
    "CountsPiecesAsTokens": (
        "test_the_usage_of_a_stream_is_that_of_the_answer",
        "the usage of a stream must equal that of complete",
    ),
    "ForgetsTheSystemMessage": (
        "test_the_server_gets_every_message",
        "complete must send every message, the request lacks marker-system",
    ),
    "LeavesOutBlankPieces": (
        "test_white_space_is_streamed_as_it_is",
        "a stream must preserve white space, also between deltas",
    ),
    "LeavesOutTheLimit": (
        "test_the_server_gets_tools_and_parameters",
        "complete must send max_tokens or raise an error",
    ),
    "LeavesOutTools": (
        "test_the_server_gets_tools_and_parameters",
        "complete must send the tools or raise an error",
    ),
    "LosesTheFirstPiece": (
        "test_a_long_answer_is_streamed_to_its_end",
        "the joined deltas must have",
    ),
    "LosesTheLastPiece": (
        "test_a_long_answer_is_streamed_to_its_end",
        "complete and stream must have the same beginning and end, differ in 'last7f'",
    ),
    "SendsAsciiAlone": ("test_the_server_gets_the_text_as_it_is", "complete must send the text unchanged"),
    "SendsFourThousandCharacters": (
        "test_the_server_gets_the_text_as_it_is",
        "complete must send the text unchanged",
    ),
    "SendsTheFirstPartAlone": (
        "test_the_server_gets_every_message",
        "complete must send every message, the request lacks marker-other",
    ),
    "SendsTheLastMessageAlone": (
        "test_the_server_gets_every_message",
        "the request lacks marker-system, marker-first, marker-answer",
    ),
    "StreamsAHundredPieces": (
        "test_a_long_answer_is_streamed_to_its_end",
        "complete and stream must have the same beginning and end, differ in 'last7f'",
    ),
    "StreamsWithoutParameters": (
        "test_the_server_gets_tools_and_parameters",
        "stream must send the tools or raise an error",
    ),
    "StripsPieces": (
        "test_white_space_is_streamed_as_it_is",
        "a stream must preserve white space, also between deltas",
    ),
    "StripsTexts": ("test_the_server_gets_the_text_as_it_is", "complete must send the text unchanged"),
    "UnknownModelsCostNothing": (
        "test_the_price_of_an_unknown_model_is_unknown",
        "the price of an unknown model must be None, not 0",
    ),
}
TESTS = "server_gets or long_answer or white_space or usage_grows or usage_of_a_stream or price_of"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("llm_content.py", tmp_path_factory, "-k", TESTS, found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["Model", "WithoutAServer"])
def test_a_correct_model_passes(outcomes: Outcomes, backend: str) -> None:
    assert list_failures(outcomes[backend]) == []
    assert {how for how, _ in outcomes[backend].values()} == {"passed"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_model_that_loses_something_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str
) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_model_that_loses_something_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Model", "WithoutAServer"} == set(FOUND_BY)
