"""`llmcore batch run --schema`: the format of the answers, and a type that rejects answers which do not fit the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmcore.cli.schema_check import find_misfit
from llmcore.cli.schema_file import get_schema_name, is_wire_format, read_schema

__all__ = ["read_format"]


def read_format(given: str) -> tuple[Mapping[str, Any], type | None]:
    """Return the `response_format` for the schema *given*, and the type that the answers must fit.

    The type is None for a file that has a complete `response_format`.

    Raises:
        UsageError: See `read_schema`.
    """
    from llmcore.llm.structured_output import make_wire_format

    schema = read_schema(given)
    wire, _ = make_wire_format(schema)
    return wire, None if is_wire_format(schema) else _make_type(schema, get_schema_name(given))


def _make_type(schema: Mapping[str, Any], name: str) -> type:
    """Return a type that is validated like a pydantic model. Errors call the schema *name*."""

    def validate(text: bytes) -> Any:
        value = json.loads(text)
        misfit = find_misfit(value, schema)
        if misfit is not None:
            raise ValueError(misfit)
        return value

    return type(f"value of {name}", (), {"model_validate_json": staticmethod(validate)})
