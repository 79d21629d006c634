"""Read the fields of a provider's options: a msgspec Struct, dataclass, NamedTuple or TypedDict."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required, Union

import msgspec

from llmcore.errors import PluginBroken
from llmcore.support.errors import raise_unchained

__all__ = ["Field", "build", "describe_expected", "describe_type", "get_fields", "has_type"]


class Field(NamedTuple):
    """One key of a provider's table."""

    key: str
    """The name in the configuration."""
    name: str
    """The name in the structure."""
    type: Any
    required: bool


def get_fields(structure: type) -> dict[str, Field]:
    """Return the fields by key.

    Raises:
        PluginBroken: The host cannot read this kind of structure.
    """
    try:
        return {field.key: field for field in _list_fields(structure)}
    except (NameError, TypeError, AttributeError) as error:
        raise_unchained(
            PluginBroken(
                f"the options {structure!r} cannot be read: {error}",
                expected="a frozen llmcore.hookspecs.Options, dataclass, NamedTuple or TypedDict, whose annotations "
                "can be evaluated at module level",
            )
        )


def build(structure: type, values: Mapping[str, Any]) -> object:
    """Return an instance of *structure* with *values*."""
    return structure(**values)


def _list_fields(structure: Any) -> list[Field]:
    if issubclass(structure, msgspec.Struct):
        return [
            Field(item.encode_name, item.name, item.type, item.required)
            for item in msgspec.structs.fields(structure)
        ]
    hints = typing.get_type_hints(structure, include_extras=True)
    if hasattr(structure, "__dataclass_fields__"):
        import dataclasses

        return [
            Field(
                item.name,
                item.name,
                hints[item.name],
                item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING,
            )
            for item in dataclasses.fields(structure)
            if item.init
        ]
    if issubclass(structure, tuple) and hasattr(structure, "_field_defaults"):
        return [
            Field(name, name, hint, name not in structure._field_defaults) for name, hint in hints.items()
        ]
    if typing.is_typeddict(structure):
        needed: frozenset[str] = structure.__required_keys__
        return [
            Field(name, name, _strip_required(hint), _is_required(hint, default=name in needed))
            for name, hint in hints.items()
        ]
    raise TypeError("unknown kind of structure")


def _is_required(hint: Any, *, default: bool) -> bool:
    """Return whether a key is required.

    If annotations are text, `__required_keys__` ignores Required and NotRequired, so this function reads the
    hint.
    """
    origin = typing.get_origin(hint)
    return origin is Required or (default and origin is not NotRequired)


def _strip_required(hint: Any) -> Any:
    while typing.get_origin(hint) in {Required, NotRequired}:
        hint = typing.get_args(hint)[0]
    return hint


def has_type(hint: Any, wanted: type) -> bool:
    """Return whether the type *hint* contains *wanted*."""
    if typing.get_origin(hint) is Literal:
        return False
    return hint is wanted or any(has_type(part, wanted) for part in typing.get_args(hint))


_NOUNS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true or false, without quotes"),
    int: ("a whole number", "a whole number, without quotes"),
    float: ("a number", "a number, without quotes"),
    str: ("text", "text in quotes"),
    Path: ("a path", "a path in quotes, not empty"),
    list: ("a list", "a list in square brackets"),
    tuple: ("a list", "a list in square brackets"),
    dict: ("a table", "a table of names and values"),
}
"""Type of an option -> a noun for its values, and a description of the valid values. Errors contain both."""


def describe_type(hint: Any) -> str | None:
    """Return a noun for values of the type, such as "a duration"; None if no noun is known."""
    core = _strip_optional(hint)
    known = _NOUNS.get(typing.get_origin(core) or core)
    if known:
        return known[0]
    name = getattr(core, "__name__", "")
    return {"Duration": "a duration", "Size": "a size"}.get(name) if hasattr(core, "parse") else None


def describe_expected(hint: Any) -> str | None:
    """Return a description of the valid values of the type; None if no description is known."""
    core = _strip_optional(hint)
    if typing.get_origin(core) is Literal:
        return "one of " + ", ".join(
            f'"{item}"' if isinstance(item, str) else str(item) for item in typing.get_args(core)
        )
    known = _NOUNS.get(typing.get_origin(core) or core)
    bounds = _format_bounds(hint)
    inner = [getattr(part, "expected", None) for part in typing.get_args(core)[:1]]
    if known and isinstance(next(iter(inner), None), str):
        return f"{known[1]}; each is {inner[0]}"
    if known:
        return known[1] + (f", {bounds}" if bounds else "")
    text = getattr(core, "expected", None)
    return text if isinstance(text, str) else None


def _strip_optional(hint: Any) -> Any:
    """Return the type without Annotated and without None."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _strip_optional(typing.get_args(hint)[0])
    if origin in {Union, types.UnionType}:
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        return _strip_optional(parts[0]) if len(parts) == 1 else hint
    return hint


def _format_bounds(hint: Any) -> str:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    found = []
    for part in (hint, *typing.get_args(hint)):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta):
                found += [
                    f"{word} {getattr(meta, name)}"
                    for name, word in words.items()
                    if getattr(meta, name) is not None
                ]
                found += [meta.description] if meta.description else []
    return ", ".join(found)
