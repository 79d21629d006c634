"""Make a JSON value that conforms to a JSON schema. Equal schemas give equal values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["sample"]

_DEEP: Final = 6
_TOO_DEEP: Final = 64
_FORMATS: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: Any, *, name: str = "text") -> Any:
    """Return a value that conforms to *schema*, the JSON schema of a structured output or of a tool.

    Supports types, properties, items, enum, const, $ref, anyOf, oneOf, allOf, formats and bounds. Ignores `pattern`.
    Expands a recursive schema a few levels deep.
    """
    return _Sampler(schema).make_value(schema, name, 0)


class _Sampler:
    def __init__(self, root: Any) -> None:
        self._root = root

    def make_value(self, schema: Any, name: str, depth: int) -> Any:
        if depth > _TOO_DEEP:
            raise ValueError("the schema refers to itself endlessly")
        if not isinstance(schema, Mapping):
            return name
        schema = self._resolve(schema)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self.make_value(self._choose_option(options, depth), name, depth + 1)
        return self._make_value(self._find_type(schema, depth), schema, name, depth)

    def _make_value(self, kind: str | None, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        match kind:
            case "object":
                made: Any = self._make_object(schema, depth)
            case "array":
                made = self._make_array(schema, name, depth)
            case "string":
                made = _make_string(schema, name)
            case "integer" | "number":
                made = _make_number(schema, whole=kind == "integer")
            case _:
                made = True if kind == "boolean" else None
        return made

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        merged = dict(schema)
        for _ in range(_TOO_DEEP):
            if "$ref" in merged:
                target = self._find_target(merged.pop("$ref"))
                merged = {**target, **merged}
            elif "allOf" in merged:
                for part in merged.pop("allOf"):
                    merged = _merge(merged, self._resolve(part))
            else:
                return merged
        raise ValueError("the schema refers to itself endlessly")

    def _find_target(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                found = found[step.replace("~1", "/").replace("~0", "~")]
        if not isinstance(found, Mapping):
            raise TypeError(f"{reference} is not a schema")
        return found

    def _choose_option(self, options: list[Any], depth: int) -> Any:
        nothing = [
            option for option in options if isinstance(option, Mapping) and option.get("type") == "null"
        ]
        others = [option for option in options if option not in nothing]
        return (nothing or others)[0] if depth > _DEEP else (others or nothing)[0]

    def _find_type(self, schema: Mapping[str, Any], depth: int) -> str | None:
        kind: str | list[str] | None = schema.get("type")
        if isinstance(kind, list):
            return (
                "null" if "null" in kind and depth > _DEEP else next((k for k in kind if k != "null"), None)
            )
        if kind is None:
            return "object" if "properties" in schema else "array" if "items" in schema else "string"
        return kind

    def _make_object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        names = [name for name in properties if depth <= _DEEP or name in required]
        names += [name for name in required if name not in properties]
        return {name: self.make_value(properties.get(name), name, depth + 1) for name in names}

    def _make_array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        first = [self.make_value(item, name, depth + 1) for item in schema.get("prefixItems", ())]
        least = schema.get("minItems", 0 if depth > _DEEP else 1)
        length = min(max(least, len(first)), schema.get("maxItems", max(least, len(first))))
        items = schema.get("items", {"type": "string"})
        return (first + [self.make_value(items, name, depth + 1) for _ in range(length - len(first))])[
            :length
        ]


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**other, **one}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**other["properties"], **one["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _make_string(schema: Mapping[str, Any], name: str) -> str:
    text = _FORMATS.get(schema.get("format", ""), name)
    text = text.ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _make_number(schema: Mapping[str, Any], *, whole: bool) -> float:
    low, over = schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf)
    high, under = schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf", 1 if whole else None)

    def fits(value: float) -> bool:
        return bool(low <= value <= high and over < value < under)

    if step is None:
        least, most = max(low, over), min(high, under)
        edges = (1, low, high, least + 1, most - 1, (least + most) / 2)
    else:
        first = math.ceil(max(low, over) / step) if max(low, over) > -math.inf else 1
        last = math.floor(min(high, under) / step) if min(high, under) < math.inf else first
        edges = tuple(number * step for number in (1, first, first + 1, last, last - 1))
    value = next((edge for edge in edges if fits(edge)), None)
    if value is None:
        raise ValueError("the schema's bounds exclude every number")
    return int(value) if whole else value
