"""Embeddings through `send`: read the request body, and write the answer, in OpenAI's format."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from llmcore.calls.steps import Act
from llmcore.errors import BadRequest
from llmcore.llm.embedding.arguments import prepare
from llmcore.llm.embedding.request import check_texts
from llmcore.llm.models import Models
from llmcore.llm.options import EmbedOptions
from llmcore.llm.wire_request import read_body
from llmcore.pipeline import Services
from llmcore.types import Embeddings, Reply

__all__ = ["send_embeddings"]

_FORMATS: Final = ("float", "base64")
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def send_embeddings(
    models: Models, services: Services, body: Mapping[str, Any], model: str | None, options: Mapping[str, Any]
) -> Act[Reply]:
    """Return the call that embeds the texts of *body*; `Reply.raw` is a list of embeddings in OpenAI's format.

    Raises:
        BadRequest: The body is not valid.
    """
    wire = read_body(body, api="embeddings", streaming=False)
    fields = dict(wire.parameters)
    texts = check_texts(fields.pop("input"), "input")
    dimensions, form = fields.pop("dimensions", None), fields.pop("encoding_format", _FORMATS[0])
    if form not in _FORMATS:
        raise BadRequest(
            f"encoding_format must be one of {', '.join(_FORMATS)}, got {form!r}",
            code="LC308",
            where="encoding_format",
            expected='"float" or "base64"',
        )
    given = cast("EmbedOptions", {**options, "extra_body": fields} if fields else dict(options))
    call = prepare(models, services, texts, model=model or wire.model, dimensions=dimensions, options=given)
    return _write(call, is_base64=form == "base64")


def _write(call: Act[Embeddings], *, is_base64: bool) -> Act[Reply]:
    found = yield from call
    vectors = [_pack(vector) if is_base64 else vector for vector in found.vectors]
    document = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)
        ],
        "model": found.model,
        "usage": {"prompt_tokens": found.usage.input_tokens, "total_tokens": found.usage.total_tokens},
    }
    return Reply(
        text="",
        model=found.model,
        provider=found.provider,
        usage=found.usage,
        cost=found.cost,
        cost_source=found.cost_source,
        cached=bool(found.cached) and all(found.cached),
        saved=found.saved,
        latency_s=found.latency_s,
        request_id=found.request_id,
        limits=found.limits,
        body=_encode(document),
    )


def _pack(vector: Sequence[float]) -> str:
    """Return *vector* as base64 of 32-bit floats, the least significant byte first."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
