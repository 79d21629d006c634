"""Render functions as the server does in the prompt: as a TypeScript namespace.

The layout is similar to the layout in openai/harmony (Apache-2.0), which OpenAI published with gpt-oss. This version
was adjusted to measured counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmcore_openai_optimized.counting.parsed_request import encode_json, get_name

__all__ = ["RenderedFunctions", "TooLarge", "render_namespace"]

_DEEPEST: Final = 10
"""Maximum depth of a schema. A limit is needed because a schema may refer to itself."""
_MOST: Final = 50_000
"""Maximum number of rendered types in one request.

A small schema with references can render to very many types, so the number of types is limited.
"""

_SIMPLE: Final = {
    "string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null",
}  # fmt: skip


_KNOWN: Final = frozenset(
    {
        "$defs", "$ref", "$schema", "additionalProperties", "default", "definitions", "description", "enum", "items",
        "properties", "required", "strict", "title", "type",
    }
)  # fmt: skip
"""Keywords that occur in at least three recorded schemas whose counts are correct.

`anyOf` is missing, because the counts of two recorded requests with it are wrong by 1 token.
"""

_NESTED: Final = 2
"""The depth down to which the counts of objects are confirmed, by 3 recorded schemas; the root has depth 1.

A deeper object makes the count an estimate, because only one recorded schema contains one, at depth 3.
"""


class TooLarge(Exception):
    """The rendered schemas are too large."""


class RenderedFunctions(NamedTuple):
    """Rendered functions."""

    text: str
    doubts: frozenset[str]
    """Parts with an unknown rendering."""


def render_namespace(
    functions: Iterable[Mapping[str, Any]], *, repeats: bool = True, item_comments: bool = True
) -> RenderedFunctions:
    """Return the namespace of *functions*.

    Args:
        functions: Each with `name`, `description` and `parameters`.
        repeats: True for Chat Completions. If a property has a list of types, its comments are then repeated for
            each type.
        item_comments: True if the items of lists have comments. Items have no comments for the models `-0301`,
            `-0314` and `-0613`, and for the deprecated `functions`.

    Raises:
        TooLarge: References make the result too large.
    """
    lines = ["namespace functions {", ""]
    renderer = _Schema(repeats=repeats, item_comments=item_comments)
    for function in functions:
        lines += [*_render_comment(function.get("description")), *_render_function(function, renderer), ""]
    lines.append("} // namespace functions")
    return RenderedFunctions("\n".join(lines), frozenset(renderer.doubts))


def _render_comment(text: Any) -> list[str]:
    """Return *text* as lines of comment."""
    if not isinstance(text, str) or not text.strip():
        return []
    return [f"// {line.strip()}".rstrip() for line in text.strip().split("\n")]


def _render_about(schema: Any) -> list[str]:
    if not isinstance(schema, Mapping):
        return []
    return [*_render_comment(schema.get("title")), *_render_comment(schema.get("description"))]


def _render_function(function: Mapping[str, Any], renderer: _Schema) -> list[str]:
    name, schema = get_name(function), function.get("parameters")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(properties, Mapping) or not properties:
        return [f"type {name} = () => any;"]
    renderer.root = schema
    renderer.doubt(schema)
    lines, about = renderer.render_properties(schema, 0), _render_about(schema)
    if about:
        return [f"type {name} = (_: {about[0]}", *about[1:], "{", *lines, "}) => any;"]
    if _is_plain(lines):
        # The server writes a function without comments on one line (confirmed by 150 functions).
        return [f"type {name} = (_: {{ {' '.join(lines).rstrip(',')} }}) => any;"]
    return [f"type {name} = (_: {{", *lines, "}) => any;"]


def _is_plain(lines: Sequence[str]) -> bool:
    return not any("\n" in line or "// default" in line or line.startswith("//") for line in lines)


class _Schema:
    """Render parameters."""

    def __init__(self, *, repeats: bool, item_comments: bool) -> None:
        self.root: Mapping[str, Any] = {}
        self.doubts: set[str] = set()
        self._left = _MOST
        self._level = 0
        self._repeats = repeats
        self._item_comments = item_comments

    def render_properties(self, schema: Mapping[str, Any], depth: int) -> list[str]:
        """Return the lines of an object's properties."""
        wanted = schema.get("required")
        required = wanted if isinstance(wanted, list | tuple) else ()
        lines: list[str] = []
        for name, given in schema["properties"].items():
            value = self._resolve(given)
            optional = "" if name in required else "?"
            text = self._render_type(value, depth)
            if self._repeats and text.startswith("{ ") and text.endswith(" }") and ", " in text:
                # In Chat Completions, the server counts one token less than we do for an object with several properties
                # on one line (seen in 2 schemas).
                self.doubts.add("tools")
            lines += [*_render_about(value), f"{name}{optional}: {text},{_render_default(value)}"]
        return lines

    def _render_type(self, given: Any, depth: int) -> str:
        self._left -= 1
        if self._left < 0:
            raise TooLarge
        schema = self._resolve(given)
        if not isinstance(schema, Mapping) or "$ref" in schema or depth > _DEEPEST:
            self.doubts.add("tools")
            return "any"
        self.doubt(schema)
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list):
                return self._render_union(schema[word], depth)
        if isinstance(schema.get("allOf"), list) and schema["allOf"]:
            return self._render_type(schema["allOf"][0], depth + 1)
        if isinstance(schema.get("enum"), list):
            return " | ".join(encode_json(one) for one in schema["enum"])
        if "const" in schema:
            return encode_json(schema["const"])
        return self._render_plain(schema, schema.get("type"), depth)

    def doubt(self, schema: Mapping[str, Any]) -> None:
        """Add a doubt if the schema has rare constructs, or constructs that we count differently from the server."""
        values, default = schema.get("enum"), schema.get("default", "")
        if (
            not schema.keys() <= _KNOWN
            or isinstance(schema.get("type"), list)
            or isinstance(schema.get("additionalProperties"), Mapping)
            # If the default is null, the server counts 2 tokens more or 1 less than we do (3 schemas).
            or not isinstance(default, str | bool)
            or (isinstance(values, list) and not all(isinstance(value, str) for value in values))
        ):
            self.doubts.add("tools")

    def _render_plain(self, schema: Mapping[str, Any], kind: Any, depth: int) -> str:
        if isinstance(kind, list):
            about = (
                schema
                if self._repeats
                else {key: schema[key] for key in schema.keys() - {"title", "description"}}
            )
            return self._render_union([{**about, "type": one} for one in kind], depth)
        if isinstance(kind, str) and kind in _SIMPLE:
            return _SIMPLE[kind]
        if kind == "array":
            return self._render_array(self._resolve(schema.get("items")), depth)
        if kind == "object" or "properties" in schema:
            return self._render_object(schema, depth)
        return "any"

    def _render_union(self, kinds: Sequence[Any], depth: int) -> str:
        texts = []
        for kind in map(self._resolve, kinds):
            about = _render_about(kind)
            texts.append("\n".join(["", *about, ""] if about else []) + self._render_type(kind, depth + 1))
        return " | ".join(texts)

    def _render_array(self, items: Any, depth: int) -> str:
        text = self._render_type(items, depth + 1) if isinstance(items, Mapping) and items else "any"
        about = _render_about(items) if self._item_comments else []
        if about or "\n" in text:
            return "\n".join(["Array<", *about, text, ">"])
        return f"{text}[]"

    def _render_object(self, schema: Mapping[str, Any], depth: int) -> str:
        if not isinstance(schema.get("properties"), Mapping) or not schema["properties"]:
            return "object"
        self._level += 1
        if self._level >= _NESTED:
            self.doubts.add("tools")
        lines = self.render_properties(schema, depth + 1)
        self._level -= 1
        if _is_plain(lines):
            return f"{{ {' '.join(lines).rstrip(',')} }}"
        return "\n".join(["{", *lines, "}"])

    def _resolve(self, schema: Any) -> Any:
        """Return *schema*, with a reference replaced by its target within the root."""
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: Any = self.root
        for step in reference[2:].split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            return schema
        return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}


def _render_default(schema: Any) -> str:
    if not isinstance(schema, Mapping) or "default" not in schema:
        return ""
    default = schema["default"]
    text = default if isinstance(default, str) and "enum" in schema else encode_json(default)
    return f" // default: {text}"
