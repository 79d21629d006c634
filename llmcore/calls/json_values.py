"""Convert an application's values to plain JSON values, or raise an error with the path of an invalid value.

The cache key, the token count and the request all use the converted copy. So they always agree, and later changes by
the caller have no effect.

Converted types: subclasses of str, int, float, list, tuple and dict; other mappings and sequences; enum members (their
value); `Decimal`; scalars of numpy, torch and jax; dataclasses, msgspec structs and pydantic models.
"""

from __future__ import annotations

import operator
from collections import UserString
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final, TypeAlias

import msgspec

from llmcore.calls.text_arguments import find_lone_surrogate
from llmcore.errors import BadRequest
from llmcore.interrupts import is_interrupt
from llmcore.support.errors import raise_unchained
from llmcore.types import ToolCall

__all__ = ["MAX_DEPTH", "JsonValue", "normalise"]

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, or a list or dict of JSON values.

A number that neither int nor float represents exactly is a `Decimal`.
"""

MAX_DEPTH: Final = 100
"""Maximum number of nested lists and dicts.

The JSON parsers of all known servers accept at least 128 levels, and a value with more than 100 is usually a mistake.
"""

_LONG: Final = 1 << 64
_MAX_BITS: Final = 14_000
_MAX_DIGITS: Final = 4_300
"""Maximum decimal digits of a number. By default, Python does not convert longer integers to text or back."""
_EXPECTED: Final = "text, a number, True, False, None, or a list or dict of these"
_UNKNOWN: Final = object()


class _Fault(Exception):
    """A value that is not JSON. The path to the value is collected from the inside out."""

    def __init__(self, message: str, expected: str, fix: str | None = None, *, deep: bool = False) -> None:
        self.message = message
        self.expected = expected
        self.fix = fix
        self.deep = deep
        self.trail: list[tuple[object, int | str]] = []
        """The containers around the value, innermost first, each with the position of the item."""

    def add_step(self, container: object, step: int | str) -> _Fault:
        self.trail.append((container, step))
        return self

    def make_error(self, name: str, code: str) -> BadRequest:
        """Return the error for the argument *name*."""
        steps = [step for _, step in reversed(self.trail)]
        containers = [id(container) for container, _ in reversed(self.trail)]
        message, expected = self.message, self.expected
        if self.deep:
            again = next((at for at, one in enumerate(containers) if one in containers[:at]), None)
            if again is not None:
                message, expected, steps = "must not contain itself", "a value without cycles", steps[:again]
            steps = steps[:8]
        path = name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        path = path.encode(errors="backslashreplace").decode()
        return BadRequest(f"{path} {message}", code=code, where=path, expected=expected, fix=self.fix)


def normalise(value: object, name: str, code: str = "LC306") -> JsonValue:
    """Return a plain JSON copy of *value*.

    Args:
        value: The application's value.
        name: The name of the argument. Error paths begin with this name.
        code: The code of the error.

    Raises:
        BadRequest: A value is not JSON: `messages[0].content[1].text must be text, got bytes`.
    """
    try:
        return _normalise_value(value, MAX_DEPTH)
    except _Fault as fault:
        raise_unchained(fault.make_error(name, code))


def _normalise_value(value: Any, depth: int) -> JsonValue:
    if type(value) is str:
        if not value.isascii():
            _check_unicode(value)
        return value
    return _READERS.get(type(value), _normalise_other)(value, depth)


def _normalise_dict(value: dict[Any, Any], depth: int, given: object = None) -> dict[str, JsonValue]:
    """Normalise a dict. If the dict is a copy, *given* is the original value."""
    _check_depth(depth)
    clean = value.copy()
    for name, item in clean.items():
        if type(name) is not str:
            return _normalise_names(value, depth, given)
        kind = type(item)
        if kind is str and item.isascii() and name.isascii():
            continue
        try:
            if not name.isascii():
                _check_unicode(name, "name")
            clean[name] = _normalise_value(item, depth - 1)
        except _Fault as fault:
            raise fault.add_step(value if given is None else given, name) from None
    return clean


def _normalise_names(value: dict[Any, Any], depth: int, given: object) -> dict[str, JsonValue]:
    """Normalise a dict with names that are not exactly str: a name of a subclass becomes str, others are errors."""
    plain: dict[str, Any] = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise _Fault(
                f"must have names of text, got {_get_type_name(name)}",
                "a dict with text keys",
                fix="{str(name): value for name, value in given.items()}",
            )
        text = str.__str__(name)
        if text in plain:
            raise _Fault(f"must have each name once, got {text!r:.40} twice", "a dict with different names")
        plain[text] = item
    return _normalise_dict(plain, depth, value if given is None else given)


def _normalise_list(given: object, clean: list[Any], depth: int) -> list[JsonValue]:
    """Normalise *clean*, a copy of the items of *given*."""
    _check_depth(depth)
    for index, item in enumerate(clean):
        if type(item) is str and item.isascii():
            continue
        try:
            clean[index] = _normalise_value(item, depth - 1)
        except _Fault as fault:
            raise fault.add_step(given, index) from None
    return clean


def _normalise_other(value: Any, depth: int) -> JsonValue:
    """Normalise a value whose type is not a plain JSON type."""
    _reject_foreign(value)
    try:
        plain = _to_plain(value)
    except BaseException as error:  # methods of the caller's class may raise any exception
        if is_interrupt(error):
            raise
        raise _Fault(
            f"cannot be read: {type(error).__name__} in {_get_type_name(value)}", _EXPECTED
        ) from None
    if plain is _UNKNOWN:
        raise _Fault(f"must be a JSON value, got {_get_type_name(value)}", _EXPECTED)
    if isinstance(plain, dict):
        return _normalise_dict(plain, depth, value)
    if isinstance(plain, list):
        return _normalise_list(value, plain, depth)
    return _normalise_value(plain, depth)


def _reject_foreign(value: object) -> None:
    if isinstance(value, bytes | bytearray | memoryview):
        raise _Fault(
            f"must be text, got {_get_type_name(value)}",
            "text",
            fix="value.decode(), or base64 in a data: URL",
        )
    if isinstance(value, set | frozenset):
        raise _Fault(
            f"must be a list, got {_get_type_name(value)}", "a list, which has an order", fix="sorted(value)"
        )
    if isinstance(value, type):
        raise _Fault(f"must be a JSON value, got the type {value.__name__}", _EXPECTED)


def _to_plain(value: Any) -> Any:
    """Return a structured value as a dict or list, a scalar as a Python scalar, and `_UNKNOWN` for any other value."""
    for kind, convert in _CONVERTERS:
        if isinstance(value, kind):
            return convert(value)
    if callable(getattr(type(value), "model_dump", None)):
        return _dump_model(value)
    if hasattr(type(value), "__dataclass_fields__"):
        import dataclasses  # imported here because cached replies of the command line do not need it

        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if getattr(value, "shape", None) == () and callable(getattr(type(value), "item", None)):
        scalar = value.item()  # numpy, torch and jax scalars have `item`
        return scalar if type(scalar) in {bool, int, float, str} else _UNKNOWN
    return operator.index(value) if hasattr(type(value), "__index__") else _UNKNOWN


def _dump_model(value: Any) -> Any:
    """Dump a pydantic model in JSON mode, without unset fields that are None.

    The vendor's client returns models with many unset fields, and servers reject `"tool_calls": null`.
    """
    dumped = value.model_dump(mode="json", by_alias=True)
    if not isinstance(dumped, dict):  # a RootModel may contain any value
        return dumped
    for name, field in type(value).model_fields.items():
        alias = field.serialization_alias or field.alias or name
        if name not in value.model_fields_set and alias in dumped and dumped[alias] is None:
            del dumped[alias]
    return dumped


def _dump_struct(value: msgspec.Struct) -> Any:
    config = value.__struct_config__
    fields = {
        field.encode_name: item
        for field in msgspec.structs.fields(value)
        if (item := getattr(value, field.name)) is not msgspec.UNSET
    }
    if config.tag is not None:
        fields = {str(config.tag_field): config.tag, **fields}
    return list(fields.values()) if config.array_like else fields


def _dump_tool_call(call: ToolCall) -> dict[str, Any]:
    """Return a `ToolCall` in the format of a message."""
    kind = "custom" if call.type == "custom" else "function"
    inner = {"name": call.name, ("input" if kind == "custom" else "arguments"): call.arguments}
    return {"id": call.id, "type": call.type, kind: inner}


def _check_integer(value: int) -> int:
    if -_LONG < value < _LONG or value.bit_length() <= _MAX_BITS:
        return value
    raise _Fault(
        f"must be a number of at most 4,300 digits, got {value.bit_length():,} bits",
        "a shorter number",
    )


def _check_float(value: float) -> float:
    if isfinite(value):
        return value
    raise _Fault(f"must be a finite number, got {value}", "a finite number")


def _reduce_decimal(value: Decimal) -> int | float | Decimal:
    """Return the number as an int or float with exactly this value, or as a Decimal without trailing zeros."""
    nearest = float(value) if value.is_finite() else float("nan")
    if not isfinite(nearest):
        raise _Fault(f"must be a finite number, got {value!s:.40}", "a finite number")
    if value == value.to_integral_value():
        return int(value)
    if Decimal(repr(nearest)) == value:
        return nearest
    digits = len(value.as_tuple().digits)
    if digits > _MAX_DIGITS:
        raise _Fault(f"must be a number of at most 4,300 digits, got {digits:,} digits", "a shorter number")
    return Context(prec=digits).normalize(value)


def _keep(value: Any, _: int) -> Any:
    return value


_READERS: Final[Mapping[type, Callable[[Any, int], JsonValue]]] = {
    dict: _normalise_dict,
    list: lambda value, depth: _normalise_list(value, value.copy(), depth),
    tuple: lambda value, depth: _normalise_list(value, list(value), depth),
    int: lambda value, _: _check_integer(value),
    float: lambda value, _: _check_float(value),
    bool: _keep,
    type(None): _keep,
    Decimal: lambda value, _: _reduce_decimal(value),
}
"""Normalising functions by exact type, a fast path for nearly all values."""

_CONVERTERS: Final[Sequence[tuple[type, Callable[[Any], Any]]]] = (
    (str, str.__str__),
    (int, int.__index__),
    (float, float.__float__),
    (Decimal, Decimal),
    (Enum, lambda member: member.value),
    (dict, dict),
    (Mapping, lambda mapping: {name: mapping[name] for name in mapping}),
    (UserString, lambda text: text.data),
    (Sequence, list),
    (ToolCall, _dump_tool_call),
    (msgspec.Struct, _dump_struct),
)
"""Functions for other types, found by `isinstance` in this order."""


def _check_depth(depth: int) -> None:
    if depth <= 0:
        raise _Fault(
            f"must be nested at most {MAX_DEPTH} levels deep",
            f"at most {MAX_DEPTH} nested lists and dicts",
            deep=True,
        )


def _check_unicode(value: str, what: str = "") -> None:
    at = find_lone_surrogate(value)
    if at is not None:
        whose = f"has a {what} that contains" if what else "contains"
        raise _Fault(
            f"{whose} a lone surrogate U+{ord(value[at]):04X} at index {at}",
            "text that can be encoded as UTF-8",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )


def _get_type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
