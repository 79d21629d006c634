"""Embeddings, good and broken on purpose, under `LLMConformance`; test_conformance_embeddings.py runs this file."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import msgspec
import pytest

from llmcore.errors import BadRequest
from llmcore.support.sending import track_sending
from llmcore.types import ChatRequest, EmbeddingLimits, EmbeddingRequest, Embeddings, Reply, Usage
from llmcore_testing.conformance import LLMConformance


class Plain:
    """Correct, blocking, without dimensions."""

    def complete(self, request: ChatRequest) -> Reply:
        text = str(request.messages[-1].get("content")) if request.messages else ""
        return Reply(text=text, model="parrot", usage=Usage(input_tokens=1, output_tokens=1))

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        if "dimensions" in request.parameters:
            raise BadRequest("this model has vectors of 16 numbers")
        tokens = sum(len(text.split()) for text in request.texts)
        return Embeddings(
            vectors=[make_vector(text, 16) for text in request.texts],
            model=request.model,
            usage=Usage(input_tokens=tokens),
        )


def make_vector(text: str, length: int) -> list[float]:
    return [byte / 255 - 0.5 for byte in hashlib.shake_128(text.encode()).digest(length)]


class Full(Plain):
    """Correct, sync and async, with dimensions and limits."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        return self.complete(request)

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        length = request.parameters.get("dimensions", 16)
        tokens = sum(len(text.split()) for text in request.texts)
        vectors = [make_vector(text, length) for text in request.texts]
        return Embeddings(vectors=vectors, model=request.model, usage=Usage(input_tokens=tokens))

    async def aembed(self, request: EmbeddingRequest) -> Embeddings:
        return self.embed(request)

    def embedding_limits(self, model: str) -> EmbeddingLimits:  # noqa: ARG002 - one limit
        return EmbeddingLimits(max_texts=40)


class Changed(Full):
    """Changes one field of a correct result."""

    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:
        raise NotImplementedError

    def embed(self, request: EmbeddingRequest) -> Any:
        return self.change(super().embed(request), request)


class ReturnsVectors(Changed):
    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:  # noqa: ARG002
        return result.vectors


class ReturnsTuples(Changed):
    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:  # noqa: ARG002
        return msgspec.structs.replace(result, vectors=[tuple(vector) for vector in result.vectors])


class ReturnsInts(Changed):
    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:  # noqa: ARG002
        return msgspec.structs.replace(result, vectors=[[1, *vector[1:]] for vector in result.vectors])


class LosesVectors(Changed):
    """raphaelsty/neural-cherche#4: fewer vectors than texts come back."""

    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:  # noqa: ARG002
        return msgspec.structs.replace(result, vectors=result.vectors[:3])


class SortsTexts(Full):
    """ollama/ollama#6187: the vectors of several texts come in another order."""

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        return super().embed(msgspec.structs.replace(request, texts=sorted(request.texts)))


class MixesTexts(Full):
    """Embeds each text together with the first one."""

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        texts = [f"{request.texts[0]} {text}" for text in request.texts]
        return super().embed(msgspec.structs.replace(request, texts=texts))


class IgnoresDimensions(Full):
    """gunpal5/Google_GenerativeAI#95: `dimensions` does not reach the server."""

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        return super().embed(msgspec.structs.replace(request, parameters={}))


class IgnoresTexts(Changed):
    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:
        same = make_vector("", len(result.vectors[0]))
        return msgspec.structs.replace(result, vectors=[same] * len(request.texts))


class CountsNothing(Changed):
    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:  # noqa: ARG002
        return msgspec.structs.replace(result, usage=Usage())


class NamesNoModel(Changed):
    def change(self, result: Embeddings, request: EmbeddingRequest) -> Any:  # noqa: ARG002
        return msgspec.structs.replace(result, model="")


class MixesUpCalls(Full):
    """Stores the texts in an attribute, which the next call overwrites."""

    texts: Any

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        self.texts = request.texts
        time.sleep(0.01)
        return super().embed(msgspec.structs.replace(request, texts=self.texts))


class ChangesTheRequest(Full):
    def embed(self, request: EmbeddingRequest) -> Embeddings:
        result = super().embed(request)
        request.texts.pop()  # type: ignore[attr-defined]
        return result


class HasNoLimits(Full):
    def embedding_limits(self, model: str) -> EmbeddingLimits:  # noqa: ARG002
        return EmbeddingLimits(max_texts=0)


class AnnouncesAReportThatNeverComes(Full):
    def embed(self, request: EmbeddingRequest) -> Embeddings:
        track_sending()
        return super().embed(request)


class Good(LLMConformance):
    backend: type = Full

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()


class Broken(Good):
    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestFull(Good):
    """Every test applies."""


class TestPlain(Good):
    backend = Plain


for _backend in (
    AnnouncesAReportThatNeverComes, ChangesTheRequest, CountsNothing, HasNoLimits, IgnoresDimensions, IgnoresTexts,
    LosesVectors, MixesTexts, MixesUpCalls, NamesNoModel, ReturnsInts, ReturnsTuples, ReturnsVectors, SortsTexts,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Broken,), {"backend": _backend})
