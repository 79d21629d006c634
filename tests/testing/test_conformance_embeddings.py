"""The conformance kit of language models tests embeddings: it passes correct ones, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, run_kit

FOUND_BY = {
    "AnnouncesAReportThatNeverComes": "track_sending was called, and mark_sent was not",
    "ChangesTheRequest": "the request belongs to the caller",
    "CountsNothing": "a longer text has more input tokens",
    "HasNoLimits": "max_texts must be greater than 0",
    "IgnoresDimensions": "dimensions=4 gave vectors of [16] numbers",
    "IgnoresTexts": "different texts have the same vector",
    "LosesVectors": "3 vectors for 4 texts",
    "MixesTexts": "the order of the texts changes their vectors",
    "MixesUpCalls": "concurrent requests got each other's vectors",
    "NamesNoModel": "Embeddings.model names the model that answered",
    "ReturnsInts": "a vector must contain finite floats only",
    "ReturnsTuples": "a vector must be a list, got tuple",
    "ReturnsVectors": "embed must return Embeddings, got list",
    "SortsTexts": "the order of the texts changes their vectors",
}
OF_EMBEDDINGS = (
    "test_each_text_gets", "test_vectors_are", "test_a_vector_depends", "test_dimensions_are", "test_input_tokens_of",
    "test_many_texts", "test_the_limits_of", "test_eight_requests_for", "test_the_request_for", "test_a_tracked_request",
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("embeddings.py", tmp_path_factory, "-k", " or ".join(OF_EMBEDDINGS), found_by=FOUND_BY)


def test_correct_embeddings_pass_in_sync_and_async(outcomes: Outcomes) -> None:
    full = outcomes["Full"]
    assert {how for how, _ in full.values()} == {"passed"}, complaints(full)
    assert sum("[sync" in name for name in full) == sum("[async" in name for name in full) >= 10


def test_embeddings_without_dimensions_and_limits_are_enough(outcomes: Outcomes) -> None:
    assert complaints(outcomes["Plain"]) == []


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_broken_embeddings_fail_and_the_failure_says_why(
    outcomes: Outcomes, backend: str, reason: str
) -> None:
    texts = complaints(outcomes[backend])
    assert texts, f"{backend} passed the kit"
    assert any(reason in text for text in texts), texts[0]


def test_every_broken_backend_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Full", "Plain"} == set(FOUND_BY)
