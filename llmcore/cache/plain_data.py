"""Encode plain data with exact types as msgpack, with extensions for the types that msgpack does not have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

__all__ = ["NotPlainError", "decode", "wrap"]

_INT64: Final = range(-(2**63), 2**64)
_encoder: Final = msgspec.msgpack.Encoder()


class NotPlainError(TypeError):
    """The error for a value that is, or contains, an object that is not plain data."""


def wrap(value: Any) -> Any:
    """Replace values by msgpack extensions where msgpack would lose the type.

    Raises:
        NotPlainError: *value* contains an object whose type is not plain. A subclass of a plain type is not plain either.
    """
    kind = type(value)
    if kind in _NATIVE:
        return value
    if kind is list:
        return [wrap(each) for each in value]
    if kind is dict:
        return _wrap_dict(value)
    if kind is int:
        return value if value in _INT64 else Ext(_INT, str(value).encode())
    if kind is datetime and value.tzinfo is UTC and not value.fold:
        return value
    known = _EXTENSIONS.get(kind)
    if known is None:
        raise NotPlainError(f"objects of type {kind.__name__} are not plain data")
    code, convert = known
    return Ext(code, _pack(convert(value)))


def decode(body: memoryview) -> Any:
    """Return the value; raise ValueError, TypeError or ArithmeticError if *body* is invalid."""
    return _decoder.decode(body)


def _pack(data: Any) -> bytes:
    return _encoder.encode(data)


def _wrap_dict(value: dict[Any, Any]) -> Any:
    pairs = [(wrap(key), wrap(each)) for key, each in value.items()]
    if any(type(key) is Ext for key, _ in pairs):  # msgpack does not support extensions as keys
        return Ext(_PAIRS, _pack(pairs))
    return dict(pairs)


def _wrap_datetime(value: datetime) -> list[Any]:
    zone = value.tzinfo
    if zone is None or type(zone) is timezone:
        return [value.isoformat(), value.fold, None]
    name = getattr(zone, "key", None)
    if type(zone).__name__ != "ZoneInfo" or not name:
        raise NotPlainError(f"a datetime in a zone of type {type(zone).__name__} is not plain data")
    return [value.replace(tzinfo=None).isoformat(), value.fold, name]


def _read_datetime(data: list[Any]) -> datetime:
    text, fold, zone = data
    value = datetime.fromisoformat(text).replace(fold=fold)
    if zone is None:
        return value
    from zoneinfo import ZoneInfo

    return value.replace(tzinfo=ZoneInfo(zone))


def _wrap_items(value: Any) -> list[Any]:
    return [wrap(each) for each in value]


def _wrap_time(value: time) -> list[Any]:
    if value.tzinfo is not None:
        raise NotPlainError("a time of day with a zone is not plain data")
    return [value.isoformat(), value.fold]


_NATIVE: Final = frozenset({str, float, bool, bytes, type(None)})
_INT, _DATETIME, _PAIRS = 10, 11, 13
_EXTENSIONS: Final[dict[type, tuple[int, Callable[[Any], Any]]]] = {
    tuple: (1, _wrap_items),
    set: (2, _wrap_items),
    frozenset: (3, _wrap_items),
    Decimal: (4, str),
    UUID: (5, lambda value: value.bytes),
    date: (6, date.isoformat),
    timedelta: (7, lambda value: [value.days, value.seconds, value.microseconds]),
    time: (8, _wrap_time),
    complex: (9, lambda value: [value.real, value.imag]),
    datetime: (_DATETIME, _wrap_datetime),
    bytearray: (12, bytes),
}
_BACK: Final[dict[int, Callable[[Any], Any]]] = {
    1: tuple,
    2: set,
    3: frozenset,
    4: Decimal,
    5: lambda data: UUID(bytes=data),
    6: date.fromisoformat,
    7: lambda data: timedelta(*data),
    8: lambda data: time.fromisoformat(data[0]).replace(fold=data[1]),
    9: lambda data: complex(*data),
    _DATETIME: _read_datetime,
    12: bytearray,
    _PAIRS: dict,
}


def _read_extension(code: int, data: memoryview) -> Any:
    if code == _INT:
        return int(bytes(data))
    back = _BACK.get(code)
    if back is None:
        raise ValueError(f"unknown extension {code}")
    return back(_decoder.decode(data))


_decoder: Final = msgspec.msgpack.Decoder(ext_hook=_read_extension)
