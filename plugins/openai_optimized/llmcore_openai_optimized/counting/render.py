"""Functions as the server writes them into the prompt: a TypeScript namespace.

The layout is near to that of openai/harmony (Apache-2.0), which OpenAI published with gpt-oss, and was fitted to what
servers counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmcore_openai_optimized.counting.asked import json_text, named

__all__ = ["Rendered", "TooLarge", "namespace"]

_DEEPEST: Final = 10
"""Levels of a schema that are followed; one that refers to itself has no end."""
_MOST: Final = 50_000
"""Types in one request that are rendered; references can multiply them without end."""

_SIMPLE: Final = {
    "string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null",
}  # fmt: skip


_SEEN_TOO_SELDOM: Final = frozenset(
    {
        "allOf", "const", "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength", "maximum",
        "minItems", "minLength", "minimum", "multipleOf", "oneOf", "pattern", "patternProperties", "prefixItems",
    }
)  # fmt: skip
"""Keywords of schemas of which nobody knows whether and how they are told."""


class TooLarge(Exception):
    """The schemas grow beyond what is worth rendering."""


class Rendered(NamedTuple):
    """Functions as text."""

    text: str
    doubts: frozenset[str]
    """What is written in a manner that is not known."""


def namespace(
    functions: Iterable[Mapping[str, Any]], *, repeats: bool = True, item_comments: bool = True
) -> Rendered:
    """Return the namespace of *functions*.

    Args:
        functions: Each with `name`, `description` and `parameters`.
        repeats: Each type of a list of types bears the comments of its property again, as in Chat Completions.
        item_comments: The items of lists bear comments; those of the first models did not.

    Raises:
        TooLarge: References make it larger than anybody would send.
    """
    lines = ["namespace functions {", ""]
    renderer = _Schema(repeats=repeats, item_comments=item_comments)
    for function in functions:
        lines += [*_comment(function.get("description")), *_function(function, renderer), ""]
    lines.append("} // namespace functions")
    return Rendered("\n".join(lines), frozenset(renderer.doubts))


def _comment(text: Any) -> list[str]:
    """Return *text* as lines of comment."""
    if not isinstance(text, str) or not text.strip():
        return []
    return [f"// {line.strip()}".rstrip() for line in text.strip().split("\n")]


def _about(schema: Any) -> list[str]:
    if not isinstance(schema, Mapping):
        return []
    return [*_comment(schema.get("title")), *_comment(schema.get("description"))]


def _function(function: Mapping[str, Any], renderer: _Schema) -> list[str]:
    name, schema = named(function), function.get("parameters")
    renderer.strict = function.get("strict") is True
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(properties, Mapping) or not properties:
        return [f"type {name} = () => any;"]
    renderer.root = schema
    lines, about = renderer.properties(schema, 0), _about(schema)
    if about:
        return [f"type {name} = (_: {about[0]}", *about[1:], "{", *lines, "}) => any;"]
    if _bare(lines):  # 150 functions without any comment: a line each
        return [f"type {name} = (_: {{ {' '.join(lines).rstrip(',')} }}) => any;"]
    return [f"type {name} = (_: {{", *lines, "}) => any;"]


def _bare(lines: Sequence[str]) -> bool:
    return not any("\n" in line or "// default" in line or line.startswith("//") for line in lines)


class _Schema:
    """Renders parameters."""

    def __init__(self, *, repeats: bool, item_comments: bool) -> None:
        self.root: Mapping[str, Any] = {}
        self.doubts: set[str] = set()
        self.strict = False
        self._left = _MOST
        self._repeats = repeats
        self._item_comments = item_comments

    def properties(self, schema: Mapping[str, Any], depth: int) -> list[str]:
        """Return the lines of an object's properties."""
        wanted = schema.get("required")
        required = wanted if isinstance(wanted, list | tuple) else ()
        lines: list[str] = []
        for name, given in schema["properties"].items():
            value = self._resolved(given)
            optional = "" if name in required else "?"
            lines += [*_about(value), f"{name}{optional}: {self._type(value, depth)},{_default(value)}"]
        return lines

    def _type(self, given: Any, depth: int) -> str:
        self._left -= 1
        if self._left < 0:
            raise TooLarge
        schema = self._resolved(given)
        if not isinstance(schema, Mapping) or "$ref" in schema or depth > _DEEPEST:
            self.doubts.add("tools")
            return "any"
        self._doubt(schema)
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list):
                return self._union(schema[word], depth)
        if isinstance(schema.get("allOf"), list) and schema["allOf"]:
            return self._type(schema["allOf"][0], depth + 1)
        if isinstance(schema.get("enum"), list):
            return " | ".join(json_text(one) for one in schema["enum"])
        if "const" in schema:
            return json_text(schema["const"])
        return self._plain(schema, schema.get("type"), depth)

    def _doubt(self, schema: Mapping[str, Any]) -> None:
        """Note what was seen once at most, or counted otherwise than by these rules."""
        unseen = not _SEEN_TOO_SELDOM.isdisjoint(schema)
        nullable = (
            self.strict and "default" in schema and schema["default"] is None
        )  # two tokens more, 3 rows
        several = isinstance(schema.get("type"), list) and bool(_about(schema))
        if unseen or nullable or several:
            self.doubts.add("tools")

    def _plain(self, schema: Mapping[str, Any], kind: Any, depth: int) -> str:
        if isinstance(kind, list):
            about = (
                schema
                if self._repeats
                else {key: schema[key] for key in schema.keys() - {"title", "description"}}
            )
            return self._union([{**about, "type": one} for one in kind], depth)
        if isinstance(kind, str) and kind in _SIMPLE:
            return _SIMPLE[kind]
        if kind == "array":
            return self._array(self._resolved(schema.get("items")), depth)
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        return "any"

    def _union(self, kinds: Sequence[Any], depth: int) -> str:
        texts = []
        for kind in map(self._resolved, kinds):
            about = _about(kind)
            texts.append("\n".join(["", *about, ""] if about else []) + self._type(kind, depth + 1))
        return " | ".join(texts)

    def _array(self, items: Any, depth: int) -> str:
        text = self._type(items, depth + 1) if isinstance(items, Mapping) and items else "any"
        about = _about(items) if self._item_comments else []
        if about or "\n" in text:
            return "\n".join(["Array<", *about, text, ">"])
        return f"{text}[]"

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        if not isinstance(schema.get("properties"), Mapping) or not schema["properties"]:
            return "object"
        lines = self.properties(schema, depth + 1)
        if _bare(lines):
            return f"{{ {' '.join(lines).rstrip(',')} }}"
        return "\n".join(["{", *lines, "}"])

    def _resolved(self, schema: Any) -> Any:
        """Return what a reference within the root stands for."""
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: Any = self.root
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
