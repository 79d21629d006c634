"""Types for `response_format=`: make the JSON schema of a type, and parse an answer into a value of the type.

A type is a dataclass, a TypedDict, a msgspec structure or a pydantic model; or a list or a union of such types. Servers accept only
an object at the root of a schema, so the schema of a list or a union is an object with the field `value`.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Mapping
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from llmcore.llm.strict_schema import SchemaFault

__all__ = ["AnswerType", "get_answer_type", "is_answer_type"]

_REFERENCE: Final = "#/$defs/{name}"
_UNIONS: Final = (Union, types.UnionType)


class _Wrapper(msgspec.Struct):
    """The object that contains a list or a union in the field `value`."""

    value: msgspec.Raw


def is_answer_type(kind: object) -> bool:
    """Return whether *kind* is a class, or a type with parameters such as `list[City]` or `City | Town`."""
    return isinstance(kind, type) or get_origin(kind) is not None


class AnswerType:
    """A type that answers are parsed into."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.name = _get_name(kind)
        self._is_wrapped = get_origin(kind) is list or get_origin(kind) in _UNIONS

    def make_schema(self) -> dict[str, Any]:
        """Return the JSON schema, with an object at its root for a list or a union.

        Raises:
            SchemaFault: Two different types have the same name.
            Exception: msgspec or pydantic has no schema for a type.
        """
        definitions: dict[str, Any] = {}
        schema = _make_schema(self.kind, definitions)
        if self._is_wrapped:
            schema = {"type": "object", "properties": {"value": schema}, "required": ["value"]}
        return {**schema, "$defs": definitions}

    def parse(self, text: str) -> Any:
        """Return the value in the JSON *text*; a list or a union may also come without the wrapping object.

        Raises:
            ValueError: The text is not JSON, or does not fit the type.
        """
        raw: bytes | msgspec.Raw = text.encode()
        if self._is_wrapped:
            with contextlib.suppress(msgspec.ValidationError):  # the text has no wrapping object
                raw = msgspec.json.decode(raw, type=_Wrapper).value
        return _parse(bytes(raw), self.kind)


@functools.lru_cache(maxsize=256)
def get_answer_type(kind: Any) -> AnswerType:
    """Return the `AnswerType` of *kind*."""
    return AnswerType(kind)


def _get_name(kind: Any) -> str:
    if get_origin(kind) in _UNIONS:
        return " | ".join(map(_get_name, get_args(kind)))
    if get_origin(kind) is list:
        return f"list[{', '.join(map(_get_name, get_args(kind)))}]"
    return "None" if kind is types.NoneType else getattr(kind, "__name__", str(kind))


def _make_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of *kind*. Put the schemas of nested types into *definitions*."""
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return {"type": "array", "items": _make_schema(item, definitions)}
    if get_origin(kind) in _UNIONS:
        return {"anyOf": [_make_schema(member, definitions) for member in get_args(kind)]}
    if hasattr(kind, "model_json_schema"):
        schema: dict[str, Any] = dict(kind.model_json_schema())
        parts: Mapping[str, Any] = schema.pop("$defs", {})
    else:
        (schema,), parts = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    for name, part in parts.items():
        if definitions.setdefault(name, part) != part:
            raise SchemaFault(f"two of its types are called {name}")
    return schema


def _parse(raw: bytes, kind: Any) -> Any:
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return [_parse(bytes(each), item) for each in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    if get_origin(kind) in _UNIONS:
        return _parse_union(raw, get_args(kind))
    validate = getattr(kind, "model_validate_json", None)
    return validate(raw) if validate else msgspec.json.decode(raw, type=kind)


def _parse_union(raw: bytes, members: tuple[Any, ...]) -> Any:
    """Return *raw* as a value of one of the types *members*.

    The type that lacks the fewest fields of *raw* is tried first, so that as few fields as possible are lost.
    """
    try:
        given = frozenset(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
    except msgspec.ValidationError:  # the answer is not an object
        given = frozenset()
    faults = []
    for member in sorted(members, key=lambda member: len(given - _get_fields(member))):
        try:
            return _parse(raw, member)
        except ValueError as error:  # msgspec's and pydantic's errors are ValueErrors
            faults.append(f"not a {_get_name(member)}: {error}")
    raise ValueError("; ".join(faults))


def _get_fields(kind: Any) -> frozenset[str]:
    """Return the names that an object of *kind* may have in JSON."""
    if hasattr(kind, "model_fields"):
        fields: Mapping[str, Any] = kind.model_fields
        return frozenset(fields) | {field.alias for field in fields.values() if field.alias}
    if hasattr(kind, "__struct_encode_fields__"):
        tag = kind.__struct_config__.tag_field
        return frozenset(kind.__struct_encode_fields__) | ({tag} if tag else set())
    import dataclasses  # imported here, because this import takes longer than a chat that the cache answers

    if dataclasses.is_dataclass(kind):
        return frozenset(field.name for field in dataclasses.fields(kind))
    return frozenset(getattr(kind, "__annotations__", ()))
