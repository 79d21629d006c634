"""The tests of `LLMConformance` for embeddings, by the contract `llmcore.contracts.embeddings`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import msgspec
import pytest

from llmcore.errors import BadRequest
from llmcore.types import EmbeddingLimits, EmbeddingRequest, Embeddings
from llmcore_testing.conformance.abilities import Abilities, for_ability

__all__ = ["EmbeddingCases"]

_TEXTS = [
    "It rains in Oslo.",
    "It rains.",
    "Seven times six is forty-two.",
    "\u4f60\u597d, \u4e16\u754c \U0001f600",
]
_CLOSE = 1e-3
"""The relative tolerance between vectors of equal texts. Servers compute with floats of 16 to 32 bits."""


class EmbeddingCases(Abilities):
    """Tests of embeddings.

    pytest skips them for a backend without `embed`, and does not collect them if `lacks` names "embed".
    """

    embedding_model: ClassVar[str | None] = None
    """The model for embeddings. None means that the test class uses its attribute `model` for embeddings too."""

    def embedding_request(self, texts: list[str], **parameters: Any) -> EmbeddingRequest:
        """Return a request for the vectors of *texts*."""
        model = str(self.embedding_model or getattr(self, "model", ""))
        return EmbeddingRequest(
            model=model, texts=list(texts), parameters=parameters, timeout_s=30.0, idle_s=30.0
        )

    @for_ability("embed")
    def test_each_text_gets_a_vector_of_the_same_length(self) -> None:
        self.needs("embed")
        result = self._embed(_TEXTS)
        assert len(result.vectors) == len(_TEXTS), (
            f"embed must return one vector per text, got {len(result.vectors)} vectors for {len(_TEXTS)} texts"
        )
        assert len({len(vector) for vector in result.vectors}) == 1, "all vectors must have the same length"
        assert result.model, "Embeddings.model must name the model that answered"

    @for_ability("embed")
    def test_vectors_are_in_the_order_of_the_texts(self) -> None:
        self.needs("embed")
        forward, backward = self._embed(_TEXTS).vectors, self._embed(_TEXTS[::-1]).vectors
        for vector, again in zip(forward, backward[::-1], strict=True):
            assert _are_close(vector, again), "the vectors must be in the order of the texts"

    @for_ability("embed")
    def test_a_vector_depends_only_on_its_text(self) -> None:
        self.needs("embed")
        together = self._embed(_TEXTS).vectors
        alone = [self._embed([text]).vectors[0] for text in _TEXTS]
        for vector, again in zip(together, alone, strict=True):
            assert _are_close(vector, again), "a vector must not depend on other texts of the request"
        assert not _are_close(together[0], together[2]), "different texts must have different vectors"

    @for_ability("embed")
    def test_dimensions_are_the_length_of_a_vector_or_refused(self) -> None:
        self.needs("embed")
        for dimensions in (4, 64):
            try:
                result = self._embed(_TEXTS[:2], dimensions=dimensions)
            except BadRequest as error:
                pytest.skip(f"this model does not support dimensions: {error.message}")
            lengths = {len(vector) for vector in result.vectors}
            assert lengths == {dimensions}, (
                f"dimensions={dimensions} gave vectors of {sorted(lengths)} numbers"
            )

    @for_ability("embed")
    def test_input_tokens_of_embeddings_are_counted(self) -> None:
        self.needs("embed")
        short, long = self._embed(["Hi"]).usage, self._embed(["word " * 200]).usage
        assert type(short.input_tokens) is int, "input_tokens must be an int"
        assert long.input_tokens > short.input_tokens > 0, "a longer text must have more input tokens"
        assert short.output_tokens == 0, "embeddings must have 0 output tokens"

    @for_ability("embed")
    def test_many_texts_fit_into_one_request(self) -> None:
        self.needs("embed")
        limits = self._find_limits()
        count = min(limits.max_texts or 50, 50)
        texts = [f"This is text number {number}." for number in range(count)]
        vectors = self._embed(texts).vectors
        assert len(vectors) == count, (
            f"embed must return one vector per text, got {len(vectors)} vectors for {count} texts"
        )
        assert len({tuple(vector) for vector in vectors}) == count, (
            "different texts must have different vectors"
        )

    @for_ability("embedding_limits")
    def test_the_limits_of_embeddings_are_positive(self) -> None:
        self.needs("embedding_limits", plain=True)
        limits = self._find_limits()
        for name in limits.__struct_fields__:
            value = getattr(limits, name)
            assert value is None or value > 0, f"{name} must be greater than 0 or None, got {value!r}"

    @for_ability("embed")
    def test_eight_requests_for_embeddings_at_once_are_not_mixed_up(self) -> None:
        self.needs("embed")
        texts = [f"What is {number} times {number}?" for number in range(8)]
        alone = [self._embed([text]).vectors[0] for text in texts]
        results = self.together([("embed", self.embedding_request([text])) for text in texts])
        for vector, result in zip(alone, results, strict=True):
            assert _are_close(vector, result.vectors[0]), "concurrent requests got each other's vectors"

    @for_ability("embed")
    def test_the_request_for_embeddings_is_not_changed(self) -> None:
        self.needs("embed")
        request = self.embedding_request(list(_TEXTS))
        before = msgspec.json.encode(request)
        self.call("embed", request)
        assert msgspec.json.encode(request) == before, "embed must not change the request"

    @for_ability("embed")
    def test_a_tracked_request_for_embeddings_is_reported(self) -> None:
        self.needs("embed")
        self.reports_sending("embed", self.embedding_request(_TEXTS[:1]))

    def _find_limits(self) -> EmbeddingLimits:
        method = getattr(self.caller.provider, "embedding_limits", None)
        if method is None:
            return EmbeddingLimits()
        limits = method(self.embedding_request(_TEXTS).model)
        assert isinstance(limits, EmbeddingLimits), (
            f"embedding_limits must return an EmbeddingLimits, got {type(limits).__name__}"
        )
        return limits

    def _embed(self, texts: list[str], **parameters: Any) -> Embeddings:
        __tracebackhide__ = True
        result = self.call("embed", self.embedding_request(texts, **parameters))
        assert isinstance(result, Embeddings), f"embed must return Embeddings, got {type(result).__name__}"
        for vector in result.vectors:
            assert type(vector) is list, f"a vector must be a list, got {type(vector).__name__}"
            assert vector, "a vector must not be empty"
            assert all(type(number) is float and math.isfinite(number) for number in vector), (
                "a vector must contain finite floats only"
            )
        return result


def _are_close(one: list[float], other: list[float]) -> bool:
    scale = max(map(abs, one), default=0.0) or 1.0
    return len(one) == len(other) and all(
        abs(left - right) <= _CLOSE * scale for left, right in zip(one, other, strict=True)
    )
