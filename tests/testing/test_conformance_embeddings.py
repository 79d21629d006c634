"""The conformance kit of language models tests embeddings: it passes correct ones, and finds each broken one."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "AnnouncesAReportThatNeverComes": (
        "test_a_tracked_request_for_embeddings_is_reported",
        "the method called track_sending but not mark_sent, so the ledger would record no cost",
    ),
    "ChangesTheRequest": (
        "test_the_request_for_embeddings_is_not_changed",
        "embed must not change the request",
    ),
    "CountsNothing": (
        "test_input_tokens_of_embeddings_are_counted",
        "a longer text must have more input tokens",
    ),
    "HasNoLimits": ("test_the_limits_of_embeddings_are_positive", "max_texts must be greater than 0"),
    "IgnoresDimensions": (
        "test_dimensions_are_the_length_of_a_vector_or_refused",
        "dimensions=4 gave vectors of [16] numbers",
    ),
    "IgnoresTexts": ("test_a_vector_depends_only_on_its_text", "different texts must have different vectors"),
    "LosesVectors": (
        "test_each_text_gets_a_vector_of_the_same_length",
        "embed must return one vector per text, got 3 vectors for 4 texts",
    ),
    "MixesTexts": (
        "test_vectors_are_in_the_order_of_the_texts",
        "the vectors must be in the order of the texts",
    ),
    "MixesUpCalls": (
        "test_eight_requests_for_embeddings_at_once_are_not_mixed_up",
        "concurrent requests got each other's vectors",
    ),
    "NamesNoModel": (
        "test_each_text_gets_a_vector_of_the_same_length",
        "Embeddings.model must name the model that answered",
    ),
    "ReturnsInts": (
        "test_each_text_gets_a_vector_of_the_same_length",
        "a vector must contain finite floats only",
    ),
    "ReturnsTuples": (
        "test_each_text_gets_a_vector_of_the_same_length",
        "a vector must be a list, got tuple",
    ),
    "ReturnsVectors": (
        "test_each_text_gets_a_vector_of_the_same_length",
        "embed must return Embeddings, got list",
    ),
    "SortsTexts": (
        "test_vectors_are_in_the_order_of_the_texts",
        "the vectors must be in the order of the texts",
    ),
}
OF_EMBEDDINGS = (
    "test_each_text_gets", "test_vectors_are", "test_a_vector_depends", "test_dimensions_are", "test_input_tokens_of",
    "test_many_texts", "test_the_limits_of_embeddings", "test_eight_requests_for", "test_the_request_for", "test_a_tracked_request",
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("embeddings.py", tmp_path_factory, "-k", " or ".join(OF_EMBEDDINGS), found_by=FOUND_BY)


def test_correct_embeddings_pass_in_sync_and_async(outcomes: Outcomes) -> None:
    full = outcomes["Full"]
    assert {how for how, _ in full.values()} == {"passed"}, list_failures(full)
    assert sum("[sync" in name for name in full) == sum("[async" in name for name in full) >= 10


def test_embeddings_without_dimensions_and_limits_are_enough(outcomes: Outcomes) -> None:
    assert list_failures(outcomes["Plain"]) == []


@pytest.mark.parametrize("backend", FOUND_BY)
def test_broken_embeddings_fail_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_backend_has_a_reason(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Full", "Plain"} == set(FOUND_BY)
