"""POST /v1/embeddings. A digest of the text seeds each unit vector, so equal texts get equal vectors."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from llmcore_testing.simulator import tokens
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.openai_common import make_headers, read_json_body, read_model
from llmcore_testing.simulator.openai_errors import make_invalid
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["REWRITES", "answer_embeddings"]

REWRITES: Final = frozenset({"missing_usage", "no_choices", "usage", "wrong_schema"})
"""The content faults that embeddings support."""

_MOST_DIMENSIONS: Final = 8192


def answer_embeddings(call: Call) -> Answer:
    """Embed a text, a list of texts, or lists of token numbers."""
    body = read_json_body(call)
    model = read_model(call, body)
    inputs = _read_inputs(body)
    dimensions = _read_dimensions(body, model)
    as_base64 = body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _make_vector(one, dimensions, as_base64=as_base64),
        }
        for index, one in enumerate(inputs)
    ]
    total = sum(tokens.count(one) if isinstance(one, str) else len(one) for one in inputs)
    usage = {"prompt_tokens": total, "total_tokens": total}
    answer: dict[str, Any] = {"object": "list", "data": data, "model": model, "usage": usage}
    counted: str | None = "embeddings"
    if call.fault is not None:
        answer = _apply_fault(answer, call.fault)
        counted = "embeddings" if answer.get("data") else None
    return Answer(pieces=(encode(answer),), headers=make_headers(total), counted=counted)


def _apply_fault(answer: dict[str, Any], fault: Fault) -> dict[str, Any]:
    match fault.kind:
        case "missing_usage":
            return {name: value for name, value in answer.items() if name != "usage"}
        case "usage":
            return {**answer, "usage": dict(fault.settings)}
        case "no_choices":
            return {**answer, "data": []}
        case _:
            return {"object": "simulated.surprise", "result": {"text": "These are not embeddings."}}


def _read_inputs(body: Mapping[str, Any]) -> list[Any]:
    given = body.get("input")
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    for one in inputs:
        numbers = isinstance(one, list) and one and all(type(token) is int for token in one)
        if not numbers and not (isinstance(one, str) and one):
            raise make_invalid("'$.input' is invalid. Please check the API reference.", param="input")
    return inputs


def _read_dimensions(body: Mapping[str, Any], model: str) -> int:
    usual = 3072 if "large" in model else 1536
    wanted = body.get("dimensions", usual)
    if type(wanted) is not int or not 0 < wanted <= _MOST_DIMENSIONS:
        raise make_invalid(
            f"Invalid value for 'dimensions': {wanted!r}.", param="dimensions", code="invalid_value"
        )
    return wanted


def _make_vector(text: str | list[int], dimensions: int, *, as_base64: bool) -> str | list[float]:
    digest = hashlib.shake_256(encode(text)).digest(2 * dimensions)
    raw = [number - 32767.5 for number in struct.unpack(f"<{dimensions}H", digest)]
    length = math.sqrt(math.fsum(number * number for number in raw))
    vector = [number / length for number in raw]
    if as_base64:
        return base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
    return vector
