"""Encode requests for embeddings and parse their answers. This module does no I/O.

Functions return errors instead of raising them; see `answers`.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest, ProviderError
from llmcore.support.errors import raise_unchained
from llmcore.types import EmbeddingRequest, Embeddings, Usage
from llmcore_openai_optimized.answers import Answer, is_success
from llmcore_openai_optimized.error_report import is_error, parse_body
from llmcore_openai_optimized.errors import Errors
from llmcore_openai_optimized.rate_limits import read_rate_limits
from llmcore_openai_optimized.reported_cost import read_cost

__all__ = ["encode_embeddings", "read_embeddings"]

_EXPECTED: Final = "one embedding for each text, as JSON"
_encoder = msgspec.json.Encoder(decimal_format="number")


def encode_embeddings(request: EmbeddingRequest) -> bytes:
    """Return the body of the HTTP request.

    The body requests the vectors in base64, as the vendor's client does, because base64 is faster to parse.

    Raises:
        BadRequest: A value cannot be encoded as JSON.
    """
    try:
        return _encoder.encode({"encoding_format": "base64", **request.body()})
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise_unchained(
            BadRequest(
                f"the request cannot be encoded as JSON: {error}",
                expected="texts, numbers, lists and dicts",
            )
        )


def read_embeddings(
    answer: Answer | ProviderError, request: EmbeddingRequest, errors: Errors
) -> Embeddings | ProviderError:
    """Return the vectors in *answer*, or the error."""
    if isinstance(answer, ProviderError):
        return answer
    if not is_success(answer.status):
        return errors.from_status(answer.status, answer.headers, answer.body, request.model)
    document = parse_body(answer.body)
    if is_error(document):
        return errors.from_document(document, answer.headers, request.model)
    fault = "something that is not a list of embeddings"
    try:
        if isinstance(document, Mapping) and isinstance(document.get("data"), list):
            vectors = _read_vectors(document["data"])
            if len(vectors) == len(request.texts):
                return _make_embeddings(document, vectors, answer, request)
            fault = f"{len(vectors)} embeddings for {len(request.texts)} texts"
    except (TypeError, ValueError, KeyError, struct.error, binascii.Error) as error:
        fault = f"an embedding that cannot be read ({type(error).__name__})"
    failure = errors.make_malformed(fault, answer.headers, expected=_EXPECTED)
    failure.answered = isinstance(document, Mapping)  # a complete answer may be billed
    return failure


def _make_embeddings(
    document: Mapping[str, Any], vectors: list[list[float]], answer: Answer, request: EmbeddingRequest
) -> Embeddings:
    usage = document.get("usage")
    reported: Mapping[str, Any] = usage if isinstance(usage, Mapping) else {}
    tokens = reported.get("prompt_tokens")
    tokens = tokens if type(tokens) is int and tokens > 0 else 0
    model = document.get("model")
    return Embeddings(
        vectors=vectors,
        model=model if isinstance(model, str) and model else request.model,
        usage=Usage(input_tokens=tokens, cost=read_cost(reported, answer.headers, tokens)),
        request_id=answer.headers.get("x-request-id"),
        limits=read_rate_limits(answer.headers),
    )


def _read_vectors(data: list[Any]) -> list[list[float]]:
    """Return the vectors, sorted by `index` if each vector has an index, otherwise in the order of the list."""
    items = data
    if all(type(item.get("index")) is int for item in data):
        items = sorted(data, key=lambda item: int(item["index"]))
    return [_read_vector(item["embedding"]) for item in items]


def _read_vector(value: Any) -> list[float]:
    """Return the numbers of a vector: a list of numbers, or little-endian 4-byte floats in base64."""
    if isinstance(value, str):
        raw = base64.b64decode(value, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return [float(number) for number in value]
