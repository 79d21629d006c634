"""Rewrite the JSON schema of a type so that it follows the rules of strict schemas.

The rules: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas. The root is an
object; every property is required, and no other property is allowed; `$ref` must not have sibling keywords; `anyOf`
replaces `oneOf`; `allOf`, `default` and `discriminator` are not allowed; every schema has a type. Except for
bounds, every answer that matches the rewritten schema also matches the original schema.

An open dict, `Any` or a tuple cannot be expressed: with these, the schema is not strict, and servers follow
it on a best-effort basis. Strict schemas do not support bounds, so bounds go into the description, which the model
reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["SchemaFault", "strict_schema"]

_SIMPLE: Final = frozenset(
    {
        "const", "description", "enum", "exclusiveMaximum", "exclusiveMinimum", "maxItems", "maximum", "minItems",
        "minimum", "multipleOf", "title", "type",
    }
)  # fmt: skip
"""Keywords of strict schemas whose values contain no schema."""
_DESCRIBED: Final = (
    "contains", "contentEncoding", "contentMediaType", "format", "maxContains", "maxLength", "maxProperties", "minContains",
    "minLength", "minProperties", "pattern", "propertyNames", "uniqueItems",
)  # fmt: skip
"""Keywords that strict schemas do not support fully.

Unsupported values go into the description, and the type checks them when the answer is parsed.
"""
_FORMATS: Final = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"}
)
_LOOKAROUNDS: Final = ("(?=", "(?!", "(?<=", "(?<!")
_LOOSE: Final = (
    "allOf",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "patternProperties",
    "then",
)
"""Keywords that make a schema not strict."""
_TYPES: Final = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (type(None), "null"),
)


class SchemaFault(ValueError):
    """The error for a schema that no server accepts for an answer. The message contains the reason."""


def strict_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the rewritten schema, and whether it is strict.

    Raises:
        SchemaFault: The root is not an object, or a reference cannot be resolved.
    """
    rewriter = _Rewriter(schema)
    root = rewriter.rewrite()
    return root, rewriter.strict


class _Rewriter:
    def __init__(self, source: Mapping[str, Any]) -> None:
        self.strict = True
        self._source = source
        self._wanted: list[str] = []
        """The references in the result, in order of appearance."""

    def rewrite(self) -> dict[str, Any]:
        source = self._resolve(
            {name: each for name, each in self._source.items() if name not in _DEFINITIONS}
        )
        if source.get("type") != "object":
            kind = source.get("type") or ("a union" if "anyOf" in source or "oneOf" in source else "no type")
            raise SchemaFault(f"its root must be an object, got {kind}")
        if not source.get("properties") and _is_open(source):
            raise SchemaFault("its root must have named properties, got an open dict")
        root = self._rewrite(source)
        definitions: dict[str, Any] = {}
        for reference in self._wanted:  # `_rewrite` may append to this list
            definitions[_get_name(reference)] = self._rewrite(self._follow(reference))
        return {**root, "$defs": definitions} if definitions else root

    def _rewrite(self, node: Any) -> Any:
        if not isinstance(node, Mapping):  # a schema may also be True, which allows any value
            self.strict = False
            return node
        node = {name: each for name, each in node.items() if name not in _IGNORED}
        reference = node.get("$ref")
        if isinstance(reference, str):
            if len(node) == 1:
                return self._rewrite_reference(reference)
            node = self._resolve(node)
        if len(node.get("allOf") or ()) == 1:
            (only,) = node.pop("allOf")
            return self._rewrite({**self._resolve(only), **node})
        clean = {name: node[name] for name in node if name in _SIMPLE}
        for name in ("const", "enum"):
            if name in clean and "type" not in clean:
                clean = {"type": _find_types(clean["enum"] if name == "enum" else [clean["const"]]), **clean}
        self._describe(node, clean)
        self._combine(node, clean)
        if "properties" in node or clean.get("type") == "object":
            self._rewrite_object(node, clean)
        if clean.get("type") == "array" or "items" in node or "prefixItems" in node:
            self._rewrite_array(node, clean)
        if "type" not in clean and "anyOf" not in clean:
            self.strict = False
        return clean

    def _combine(self, node: Mapping[str, Any], clean: dict[str, Any]) -> None:
        options = [*node.get("anyOf", ()), *node.get("oneOf", ())]
        if options:
            clean["anyOf"] = [self._rewrite(option) for option in options]
        for name in _LOOSE:
            if name in node:
                self.strict = False
                clean[name] = node[name] if name == "dependentRequired" else self._rewrite_inner(node[name])

    def _rewrite_object(self, node: Mapping[str, Any], clean: dict[str, Any]) -> None:
        properties = node.get("properties") or {}
        if not properties and _is_open(node):
            self.strict = False
            if "additionalProperties" in node:
                clean["additionalProperties"] = self._rewrite_inner(node["additionalProperties"])
            return
        clean["properties"] = {name: self._rewrite(each) for name, each in properties.items()}
        clean["required"] = list(properties)
        clean["additionalProperties"] = False

    def _rewrite_array(self, node: Mapping[str, Any], clean: dict[str, Any]) -> None:
        if node.get("prefixItems"):
            self.strict = False
            clean["prefixItems"] = [self._rewrite(each) for each in node["prefixItems"]]
        if "items" in node:
            clean["items"] = self._rewrite_inner(node["items"])
        elif "prefixItems" not in clean:
            self.strict = False

    def _rewrite_inner(self, value: Any) -> Any:
        """Rewrite a schema, a list of schemas, or True or False."""
        if isinstance(value, bool):
            self.strict = self.strict and not value
            return value
        if isinstance(value, list):
            return [self._rewrite(each) for each in value]
        return self._rewrite(value)

    def _describe(self, node: Mapping[str, Any], clean: dict[str, Any]) -> None:
        """Keep `format` and `pattern` if strict schemas support the value.

        Add other bounds to the description.
        """
        bounds = []
        for name in _DESCRIBED:
            value = node.get(name)
            if value is None or isinstance(value, Mapping):
                continue
            if (name == "format" and value in _FORMATS) or (
                name == "pattern" and not any(each in value for each in _LOOKAROUNDS)
            ):
                clean[name] = value
            else:
                bounds.append(f"{name}: {value}")
        if bounds:
            description = clean.get("description")
            clean["description"] = (
                f"{description} ({', '.join(bounds)})" if description else ", ".join(bounds)
            )

    def _rewrite_reference(self, reference: str) -> dict[str, Any]:
        self._follow(reference)
        if reference == "#":
            return {"$ref": reference}
        if reference not in self._wanted:
            self._wanted.append(reference)
        return {"$ref": f"#/$defs/{_get_name(reference)}"}

    def _resolve(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Return *node* with its reference replaced by the target.

        Keywords next to the reference take precedence.
        """
        node = dict(node)
        followed: set[str] = set()
        while isinstance(reference := node.pop("$ref", None), str):
            if reference in followed:
                raise SchemaFault(f"the reference {reference} refers to itself")
            followed.add(reference)
            node = {**self._follow(reference), **node}
        return node

    def _follow(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._source
        for step in _split_reference(reference):
            found = found.get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or not reference.startswith("#"):
            raise SchemaFault(f"the reference {reference} cannot be resolved")
        return found


_DEFINITIONS: Final = frozenset({"$defs", "definitions"})
_IGNORED: Final = _DEFINITIONS | {
    "$comment", "$id", "$schema", "default", "deprecated", "discriminator", "examples", "readOnly", "writeOnly",
}  # fmt: skip
"""Keywords that do not affect which answers match."""


def _is_open(node: Mapping[str, Any]) -> bool:
    return (
        bool(node.get("patternProperties"))
        or node.get("additionalProperties", "properties" not in node) is not False
    )


def _split_reference(reference: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in reference.lstrip("#").split("/") if step]


def _get_name(reference: str) -> str:
    return reference.rsplit("/", 1)[1]


def _find_types(values: list[Any]) -> str | list[str]:
    names = dict.fromkeys(
        next((name for kind, name in _TYPES if isinstance(each, kind)), "object") for each in values
    )
    return next(iter(names)) if len(names) == 1 else list(names)
