"""response_format= as a type: its JSON schema on the way out, an instance on the way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.errors import BadRequest, MalformedReply
from llmcore.types import Reply

__all__ = ["fits", "parsed", "wire_format"]


def wire_format(asked: object) -> tuple[Mapping[str, Any], type | None]:
    """Return the `response_format` for the wire, and the type that the answer becomes.

    Args:
        asked: A wire format as a dict, which passes through; a JSON schema as a dict; or a dataclass, TypedDict,
            msgspec or pydantic model.

    Raises:
        BadRequest: It is none of these.
    """
    if isinstance(asked, Mapping):
        if "json_schema" in asked or asked.get("type") in {"json_schema", "json_object", "text"}:
            return asked, None
        return _json_schema(str(asked.get("title", "answer")), asked), None
    if not isinstance(asked, type):
        raise BadRequest(
            f"response_format is a {type(asked).__name__}",
            code="LC307",
            expected="a JSON schema, or a dataclass, TypedDict, msgspec or pydantic model",
        )
    if hasattr(asked, "model_json_schema"):
        return _json_schema(asked.__name__, _strict(asked.model_json_schema())), asked
    cause = ""
    try:
        (schema,), parts = msgspec.json.schema_components([asked], ref_template="#/$defs/{name}")
        if set(schema) == {"$ref"}:  # the API wants an object at the root
            schema = parts.pop(schema["$ref"].rsplit("/", 1)[1], schema)
        if parts:
            schema = {**schema, "$defs": parts}
        return _json_schema(asked.__name__, _strict(schema)), asked
    except TypeError as error:
        cause = str(error)
    raise BadRequest(
        f"response_format={asked.__name__} has no JSON schema: {cause}",
        code="LC307",
        expected="a dataclass, TypedDict, msgspec or pydantic model",
    )


def fits(reply: Reply, kind: type) -> bool:
    """Return whether the answer can be read as *kind*."""
    try:
        parsed(reply, kind)
    except MalformedReply:
        return False
    return True


def parsed(reply: Reply, kind: type) -> Reply:
    """Return *reply* with its text read as *kind* in `parsed`; unread where it holds tool calls instead.

    Raises:
        MalformedReply: The text does not fit.
    """
    if not reply.text and reply.tool_calls:
        return reply
    cause = ""
    try:
        validate = getattr(kind, "model_validate_json", None)
        value = validate(reply.text) if validate else msgspec.json.decode(reply.text, type=kind)
        return msgspec.structs.replace(reply, parsed=value)
    except ValueError as error:  # msgspec's and pydantic's errors are ValueErrors
        cause = str(error)
    raise MalformedReply(
        f"the answer is not a {kind.__name__}: {cause}",
        provider=reply.provider,
        partial=reply.text,
        code="LC407",
        expected=f"JSON that fits {kind.__name__}",
    )


def _json_schema(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def _strict(node: Any) -> Any:
    """Return the schema as strict mode demands it: every property required, none beside them.

    Source: https://platform.openai.com/docs/guides/structured-outputs
    """
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _strict(value) for key, value in node.items() if key != "default"}
    if isinstance(node.get("properties"), dict):
        result["properties"] = {name: _strict(value) for name, value in node["properties"].items()}
        result["required"] = list(node["properties"])
        result["additionalProperties"] = False
    return result
