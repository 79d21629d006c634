"""Generate a small JSON value that fits a JSON schema. Equal schemas have equal values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["sample"]

_DEEPEST: Final = 12
"""Maximum depth of optional properties.

Deeper objects get only their required properties, so that a recursive schema has a finite value.
"""
_BY_FORMAT: Final = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "echo@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
}


def sample(schema: Mapping[str, Any], text: str) -> Any:
    """Return a value that fits *schema*, with *text* for its strings.

    `pattern`, `not`, `if` and `dependentSchemas` are ignored.
    """
    return _Sampler(schema, text).sample(schema, 0)


class _Sampler:
    def __init__(self, root: Mapping[str, Any], text: str) -> None:
        self._root = root
        self._text = text

    def sample(self, schema: object, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > 4 * _DEEPEST:
            return None
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for choice in ("anyOf", "oneOf"):
            if schema.get(choice):
                branches = schema[choice]
                # Below the maximum depth, use the last branch: it is usually null, which ends the recursion.
                return self.sample(branches[-1 if depth > _DEEPEST else 0], depth + 1)
        return self._sample_type(_get_type(schema, deep=depth > _DEEPEST), schema, depth)

    def _sample_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        if kind == "object":
            return self._sample_object(schema, depth)
        if kind == "array":
            return self._sample_array(schema, depth)
        if kind == "string":
            return self._sample_string(schema)
        if kind in ("integer", "number"):
            return _sample_number(schema, whole=kind == "integer")
        return True if kind == "boolean" else None

    def _sample_object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        names = [*properties, *(name for name in required if name not in properties)]
        if depth > _DEEPEST:
            names = list(required)
        return {name: self.sample(properties.get(name, {"type": "string"}), depth + 1) for name in names}

    def _sample_array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = [self.sample(item, depth + 1) for item in schema.get("prefixItems") or ()]
        least = schema.get("minItems", 0)
        wanted = least if depth > _DEEPEST else max(1, least)
        items = schema.get("items", {"type": "string"})
        while len(first) < min(wanted, schema.get("maxItems", wanted)) and items is not False:
            first.append(self.sample(items, depth + 1))
        return first

    def _sample_string(self, schema: Mapping[str, Any]) -> str:
        text = _BY_FORMAT.get(schema.get("format", ""), self._text)
        text = text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength", len(text))]

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(_DEEPEST):
            if isinstance(schema.get("$ref"), str):
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._follow_reference(schema["$ref"]), **rest}
            elif schema.get("allOf"):
                schema = self._merge(schema)
            else:
                break
        return schema

    def _merge(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        parts = [
            {key: value for key, value in schema.items() if key != "allOf"},
            *map(self._resolve, schema["allOf"]),
        ]
        result: dict[str, Any] = {}
        for part in parts:
            result.update(
                {key: value for key, value in part.items() if key not in ("properties", "required")}
            )
        result["properties"] = {
            name: sub for part in parts for name, sub in part.get("properties", {}).items()
        }
        result["required"] = [name for part in parts for name in part.get("required", [])]
        return result

    def _follow_reference(self, reference: str) -> Mapping[str, Any]:
        schema: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step and isinstance(schema, Mapping):
                schema = schema.get(step.replace("~1", "/").replace("~0", "~"), {})
        return schema if isinstance(schema, Mapping) else {}


def _get_type(schema: Mapping[str, Any], *, deep: bool) -> str:
    kind = schema.get("type")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        if deep and "null" in kind:
            return "null"
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _sample_number(schema: Mapping[str, Any], *, whole: bool) -> float:
    """Return the number nearest to 0 within the bounds; 0 if the bounds contradict each other."""
    step: float = schema.get("multipleOf", 1 if whole else 0)
    low: float = schema.get("minimum", -math.inf)
    high: float = schema.get("maximum", math.inf)
    above: float = schema.get("exclusiveMinimum", -math.inf)
    below: float = schema.get("exclusiveMaximum", math.inf)

    def is_valid(number: float) -> bool:
        return low <= number <= high and above < number < below

    floor, ceiling = max(low, above), min(high, below)
    if is_valid(0):
        return 0
    if step:
        nearest = step * (math.ceil(floor / step) if floor >= 0 else math.floor(ceiling / step))
        candidates: tuple[float, ...] = (nearest, nearest + step, nearest - step)
    elif math.isfinite(floor) and math.isfinite(ceiling):
        candidates = (floor, ceiling, (floor + ceiling) / 2)
    else:
        candidates = (floor, ceiling, floor + 1, ceiling - 1)
    return next((number for number in candidates if math.isfinite(number) and is_valid(number)), 0)
