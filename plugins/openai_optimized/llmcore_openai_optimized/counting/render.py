"""Functions as the server writes them into the prompt: a TypeScript namespace.

The layout is near to that of openai/harmony (Apache-2.0), which OpenAI published with gpt-oss, and was fitted to what
servers counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llmcore_openai_optimized.counting.asked import json_text, named

__all__ = ["TooLarge", "namespace"]

_DEEPEST: Final = 10
"""Levels of a schema that are followed; one that refers to itself has no end."""
_MOST: Final = 50_000
"""Types in one request that are rendered; references can multiply them without end."""

_SIMPLE: Final = {
    "string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null",
}  # fmt: skip


class TooLarge(Exception):
    """The schemas grow beyond what is worth rendering."""


def namespace(functions: Iterable[Mapping[str, Any]], *, inline: bool) -> str:
    """Return the namespace of *functions*; with *inline*, one without any comment stands on one line.

    Raises:
        TooLarge: References make it larger than anybody would send.
    """
    lines = ["namespace functions {", ""]
    left = [_MOST]
    for function in functions:
        lines += [*comment(function.get("description")), *_function(function, left, inline=inline), ""]
    lines.append("} // namespace functions")
    return "\n".join(lines)


def comment(text: Any, indent: str = "") -> list[str]:
    """Return *text* as lines of comment."""
    if not isinstance(text, str) or not text.strip():
        return []
    return [f"{indent}// {line.strip()}".rstrip() for line in text.strip().split("\n")]


def _function(function: Mapping[str, Any], left: list[int], *, inline: bool) -> list[str]:
    name, schema = named(function), function.get("parameters")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(properties, Mapping) or not properties:
        return [f"type {name} = () => any;"]
    lines = _Schema(schema, left).properties(schema, "", 0)
    about = [*comment(schema.get("title")), *comment(schema.get("description"))]
    if about:
        return [f"type {name} = (_: {about[0]}", *about[1:], "{", *lines, "}) => any;"]
    if inline and _bare(lines):
        return [f"type {name} = (_: {{ {' '.join(lines).rstrip(',')} }}) => any;"]
    return [f"type {name} = (_: {{", *lines, "}) => any;"]


def _bare(lines: Sequence[str]) -> bool:
    return not any("\n" in line or "// default" in line or line.lstrip().startswith("//") for line in lines)


class _Schema:
    """Renders one function's parameters."""

    def __init__(self, root: Mapping[str, Any], left: list[int]) -> None:
        self._root = root
        self._left = left

    def properties(self, schema: Mapping[str, Any], indent: str, depth: int) -> list[str]:
        """Return the lines of an object's properties."""
        wanted = schema.get("required")
        required = wanted if isinstance(wanted, list | tuple) else ()
        lines: list[str] = []
        for name, given in schema["properties"].items():
            value = self._resolved(given)
            if isinstance(value, Mapping):
                lines += [*comment(value.get("title"), indent), *comment(value.get("description"), indent)]
            optional = "" if name in required else "?"
            lines.append(f"{indent}{name}{optional}: {self._type(value, indent, depth)},{_default(value)}")
        return lines

    def _type(self, given: Any, indent: str, depth: int) -> str:
        self._left[0] -= 1
        if self._left[0] < 0:
            raise TooLarge
        schema = self._resolved(given)
        if not isinstance(schema, Mapping) or "$ref" in schema or depth > _DEEPEST:
            return "any"
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list):
                return " | ".join(self._type(one, indent, depth + 1) for one in schema[word])
        if isinstance(schema.get("allOf"), list) and schema["allOf"]:
            return self._type(schema["allOf"][0], indent, depth + 1)
        if isinstance(schema.get("enum"), list):
            return " | ".join(json_text(one) for one in schema["enum"])
        if "const" in schema:
            return json_text(schema["const"])
        return self._plain(schema, schema.get("type"), indent, depth)

    def _plain(self, schema: Mapping[str, Any], kind: Any, indent: str, depth: int) -> str:
        if isinstance(kind, list):
            return " | ".join(self._type({**schema, "type": one}, indent, depth + 1) for one in kind)
        if isinstance(kind, str) and kind in _SIMPLE:
            return _SIMPLE[kind]
        if kind == "array":
            items = schema.get("items")
            return (
                f"{self._type(items, indent, depth + 1) if isinstance(items, Mapping) and items else 'any'}[]"
            )
        if kind == "object" or "properties" in schema:
            return self._object(schema, indent, depth)
        return "any"

    def _object(self, schema: Mapping[str, Any], indent: str, depth: int) -> str:
        if not isinstance(schema.get("properties"), Mapping) or not schema["properties"]:
            return "object"
        lines = self.properties(schema, indent + "    ", depth + 1)
        if _bare(lines):
            return f"{{ {' '.join(line.strip() for line in lines).rstrip(',')} }}"
        return "\n".join(["{", *lines, indent + "}"])

    def _resolved(self, schema: Any) -> Any:
        """Return what a reference within the root stands for."""
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: Any = self._root
        for step in reference[2:].split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            return schema
        return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}


def _default(schema: Any) -> str:
    if not isinstance(schema, Mapping) or "default" not in schema:
        return ""
    default = schema["default"]
    told = default if isinstance(default, str) and "enum" in schema else json_text(default)
    return f" // default: {told}"
