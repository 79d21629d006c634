"""Decode the used fields of a completion or a chunk.

Field types are not checked here: a paid answer must not be lost because of an unused field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore_openai_optimized.fields import repair_texts

__all__ = ["Chunk", "SentChoice", "decode_chunk", "decode_odd_chunk"]


class SentChoice(msgspec.Struct, gc=False):
    """A choice as received."""

    delta: Any = None
    message: Any = None
    text: Any = None
    index: Any = None
    finish_reason: Any = None
    logprobs: Any = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """A completion or a chunk."""

    choices: list[SentChoice] | None = None
    model: Any = None
    usage: Any = None
    error: Any = None
    id: Any = None
    created: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None


_CHUNK_FIELDS: Final = Chunk.__struct_fields__
_CHOICE_FIELDS: Final = SentChoice.__struct_fields__
_encode = msgspec.json.Encoder().encode

decode_chunk = msgspec.json.Decoder(Chunk).decode
"""Decode a chunk. If this raises ValueError, `decode_odd_chunk` may still decode the chunk."""


def decode_odd_chunk(payload: bytes) -> tuple[Chunk, bytes]:
    """Decode invalid JSON that some servers send; return the chunk and valid JSON.

    NaN becomes null. Lone surrogates stay in the chunk, because the next chunk may contain the other half.

    Raises:
        ValueError: *payload* is not JSON, or not a completion.
    """
    try:
        value = json.loads(payload.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(value, list) and len(value) == 1:  # Gemini wraps its errors in a list
        value = value[0]
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {type(value).__name__}")  # noqa: TRY004 - callers handle the errors of json, which are ValueErrors
    repaired = _encode(repair_texts(value))
    sent = {name: value[name] for name in _CHUNK_FIELDS if name in value}
    choices = sent.get("choices")
    if choices is not None:
        if not isinstance(choices, list) or not all(isinstance(each, Mapping) for each in choices):
            raise ValueError("`choices` is not a list of objects")
        sent["choices"] = [
            SentChoice(**{name: each[name] for name in _CHOICE_FIELDS if name in each}) for each in choices
        ]
    return Chunk(**sent), repaired
