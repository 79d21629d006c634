"""The kit of language models finds what is lost of long and unusual requests and answers."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, run_kit

FOUND_BY = {
    "AsksItsOwnModel": "complete must ask the model of the request, or raise an error",
    "CountsOneTokenForEveryAnswer": "must have more output_tokens than one of",
    "CountsPiecesAsTokens": "usage of a stream must be that of complete",
    "ForgetsTheSystemMessage": "complete must send every message, the server did not get marker-system",
    "LeavesOutBlankPieces": "a stream must keep white space, also between two pieces",
    "LeavesOutTheLimit": "complete must send max_tokens, or raise an error",
    "LeavesOutTools": "complete must send the tools, or raise an error",
    "LosesTheFirstPiece": "the pieces of a long answer must join to the answer",
    "LosesTheLastPiece": "complete and stream differ in 'last7f', at one end of a long answer",
    "SendsAsciiAlone": "complete must send the text unchanged",
    "SendsFourThousandCharacters": "complete must send the text unchanged",
    "SendsTheFirstPartAlone": "complete must send every message, the server did not get marker-other",
    "SendsTheLastMessageAlone": "the server did not get marker-system, marker-first, marker-answer",
    "StreamsAHundredPieces": "complete and stream differ in 'last7f', at one end of a long answer",
    "StreamsWithoutParameters": "stream must send the tools, or raise an error",
    "StripsPieces": "a stream must keep white space, also between two pieces",
    "StripsTexts": "complete must send the text unchanged",
    "UnknownModelsCostNothing": "the price of a model that is not known must be None, never 0",
}
TESTS = "server_gets or long_answer or white_space or usage_grows or usage_of_a_stream or price_of"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("llm_content.py", tmp_path_factory, "-k", TESTS, found_by=FOUND_BY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["Model", "WithoutAServer"])
def test_a_correct_model_passes(outcomes: Outcomes, backend: str) -> None:
    assert complaints(outcomes[backend]) == []
    assert {how for how, _ in outcomes[backend].values()} == {"passed"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_model_that_loses_something_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str, reason: str
) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_model_that_loses_something_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Model", "WithoutAServer"} == set(FOUND_BY)
