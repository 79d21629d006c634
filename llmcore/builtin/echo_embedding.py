"""The vectors of `echo`: a hashed bag of words, so that texts with common words have similar vectors."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from typing import Final

from llmcore.builtin import echo_answer
from llmcore.errors import BadRequest
from llmcore.types import EmbeddingRequest, Embeddings, Usage

__all__ = ["embed"]

_DIMENSIONS: Final = 256
_MAX_DIMENSIONS: Final = 8192
_PLACES: Final = 3
"""The number of vector elements that one word changes. With several elements per word, few words have the same vector."""
_WORD: Final = re.compile(r"\w+|[^\w\s]")


def embed(request: EmbeddingRequest) -> Embeddings:
    """Return a unit vector for each text. The vector depends only on the text and the dimensions.

    Raises:
        BadRequest: `dimensions` is not between 1 and 8,192.
    """
    dimensions = request.parameters.get("dimensions", _DIMENSIONS)
    if type(dimensions) is not int or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise BadRequest(
            f"dimensions must be an integer from 1 to {_MAX_DIMENSIONS:,}, got {dimensions!r}",
            provider="echo",
            expected="such as 256",
        )
    return Embeddings(
        vectors=[_make_vector(text, dimensions) for text in request.texts],
        model=request.model,
        usage=Usage(input_tokens=sum(int(echo_answer.count(text)) for text in request.texts)),
    )


def _make_vector(text: str, dimensions: int) -> list[float]:
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.casefold()) or [text]:
        digest = hashlib.blake2b(word.encode(), digest_size=4 * _PLACES).digest()
        for number in struct.unpack(f"<{_PLACES}I", digest):
            vector[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not length:  # the words cancel each other out
        vector[0] = length = 1.0
    return [value / length for value in vector]
