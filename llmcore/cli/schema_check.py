"""Check a JSON schema for types that do not exist, and check an answer against a schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["TYPES", "WrongType", "find_misfit", "find_wrong_type"]

TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")
_MANY: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""The keywords that contain named schemas."""
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
"""The keywords that contain a list of schemas."""
_SINGLE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
"""The keywords that contain one schema."""
_DEEPEST: Final = 64
"""Maximum depth of a schema that is checked. Deeper parts count as correct, so that the check of a recursive schema ends."""
_LONGEST: Final = 40
"""Maximum number of characters of a value that an error shows."""
_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0
    ),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


class WrongType(NamedTuple):
    """A `type` in a schema that does not exist in JSON Schema."""

    path: str
    value: object


def find_wrong_type(schema: object, path: str = "$", depth: int = 0) -> WrongType | None:
    """Return the first `type` in *schema* that is neither in `TYPES` nor a list of such types."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    kind = schema.get("type")
    for each in kind if isinstance(kind, list) else [kind] if "type" in schema else []:
        if each not in TYPES:
            return WrongType(f"{path}.type", each)
    found = (find_wrong_type(part, f"{path}.{where}", depth + 1) for where, part in _list_parts(schema))
    return next((fault for fault in found if fault is not None), None)


def find_misfit(answer: Any, schema: Mapping[str, Any]) -> str | None:
    """Return the fault of the first part of *answer* that does not fit *schema*; None if all parts fit.

    Only the keywords that servers enforce are checked: type, enum, const, properties, required,
    additionalProperties, items, anyOf, allOf and $ref within the schema. Other keywords are ignored.
    """
    return next(_list_misfits(answer, schema, schema, "$", 0), None)


def _list_misfits(value: Any, schema: Any, root: Any, path: str, depth: int) -> Iterator[str]:
    if schema is False:
        yield f"{path} must not be there"
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return
    yield from _list_own_misfits(value, schema, path)
    same = [*(schema.get("allOf") or ()), *([_follow(root, schema["$ref"])] if "$ref" in schema else [])]
    for where, part, its in [*((path, value, each) for each in same), *_list_values(value, schema, path)]:
        yield from _list_misfits(part, its, root, where, depth + 1)
    ways = schema.get("anyOf") or ()
    faults = [next(_list_misfits(value, each, root, path, depth + 1), None) for each in ways]
    if faults and faults[0] is not None and all(faults):
        yield faults[0]


def _list_own_misfits(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the errors of *value*, without the errors of its parts."""
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind] if isinstance(kind, str) else []
    if kinds and not any(_IS[each](value) for each in kinds):
        yield f"{path} must be {' or '.join(kinds)}, got {_show(value)}"
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(allowed, list) and not any(each == value and type(each) is type(value) for each in allowed):
        yield f"{path} must be {' or '.join(map(_show, allowed))}, got {_show(value)}"
    if isinstance(value, dict):
        yield from (
            f"{path} must have `{name}`" for name in schema.get("required") or () if name not in value
        )


def _list_parts(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the schemas inside *schema*, each with its path in *schema*."""
    for keyword in _MANY:
        if isinstance(named := schema.get(keyword), dict):
            yield from ((f"{keyword}.{name}", part) for name, part in named.items())
    for keyword in _LISTS:
        if isinstance(listed := schema.get(keyword), list):
            yield from ((f"{keyword}[{at}]", part) for at, part in enumerate(listed))
    yield from ((keyword, schema[keyword]) for keyword in _SINGLE if keyword in schema)


def _list_values(value: Any, schema: Mapping[str, Any], path: str) -> list[tuple[str, Any, Any]]:
    """Return the path, the value and the schema of each property or element."""
    if isinstance(value, dict):
        known = schema.get("properties") or {}
        other = True if schema.get("patternProperties") else schema.get("additionalProperties", True)
        return [(f"{path}.{name}", part, known.get(name, other)) for name, part in value.items()]
    if isinstance(value, list):
        first = schema.get("prefixItems") or []
        each = schema.get("items", True)
        return [
            (f"{path}[{at}]", part, first[at] if at < len(first) else each) for at, part in enumerate(value)
        ]
    return []


def _follow(root: Any, reference: object) -> Any:
    """Return the schema that *reference* names.

    A reference outside of *root* resolves to True, which accepts everything.
    """
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = (
                found.get(step.replace("~1", "/").replace("~0", "~"), True)
                if isinstance(found, dict)
                else True
            )
    return found


def _show(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
