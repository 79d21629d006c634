"""Render the JSON schema of the answer as the server writes it into the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_openai_optimized.counting.parsed_request import encode_ascii_json

__all__ = ["render_schema"]

_LEFT_OUT: Final = frozenset(
    {
        "$schema", "additionalProperties", "default", "examples", "exclusiveMaximum", "exclusiveMinimum", "format",
        "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "multipleOf", "pattern", "required",
        "strict", "uniqueItems",
    }
)  # fmt: skip
"""Keywords that the server omits from the prompt. If they were counted, every result would be higher than the recorded count."""

_OF_NAMES: Final = frozenset({"properties", "$defs", "definitions"})
"""Keywords whose value is an object with names as keys. The user has chosen these names, so they are not keywords."""


def render_schema(schema: Any) -> str:
    """Return *schema* as the server writes it: compact JSON in ASCII.

    Eight recorded schemas contain a dash character. Their counts show that the server writes ASCII, because a
    dash that is escaped has three tokens.
    """
    return encode_ascii_json(_strip_schema(schema))


def _strip_schema(schema: Any, *, names: bool = False) -> Any:
    if isinstance(schema, Mapping):
        return {
            key: _strip_schema(value, names=not names and key in _OF_NAMES)
            for key, value in schema.items()
            if names or key not in _LEFT_OUT
        }
    if isinstance(schema, list | tuple):
        return [_strip_schema(one) for one in schema]
    return schema
