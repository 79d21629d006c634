"""Plain data with its exact types as msgpack: what msgpack has no type for becomes one of its extensions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

__all__ = ["NotPlain", "read", "wrapped"]

_INT64: Final = range(-(2**63), 2**64)
_encoder: Final = msgspec.msgpack.Encoder()


class NotPlain(TypeError):
    """A value is, or holds, an object of a class."""


def wrapped(value: Any) -> Any:
    """Return *value* so that msgpack keeps its types.

    Raises:
        NotPlain: An object of a class, a subclass of a plain type among them, is in it.
    """
    kind = type(value)
    if kind in _NATIVE:
        return value
    if kind is list:
        return [wrapped(each) for each in value]
    if kind is dict:
        return _mapped(value)
    if kind is int:
        return value if value in _INT64 else Ext(_INT, str(value).encode())
    if kind is datetime and value.tzinfo is UTC and not value.fold:
        return value
    known = _EXTENSIONS.get(kind)
    if known is None:
        raise NotPlain(f"objects of type {kind.__name__} are not plain data")
    code, told = known
    return Ext(code, _packed(told(value)))


def read(body: memoryview) -> Any:
    """Return the value; raises ValueError, TypeError or ArithmeticError where *body* is none."""
    return _decoder.decode(body)


def _packed(told: Any) -> bytes:
    return _encoder.encode(told)


def _mapped(value: dict[Any, Any]) -> Any:
    pairs = [(wrapped(key), wrapped(each)) for key, each in value.items()]
    if any(type(key) is Ext for key, _ in pairs):  # which msgpack does not take for a key
        return Ext(_PAIRS, _packed(pairs))
    return dict(pairs)


def _moment(value: datetime) -> list[Any]:
    zone = value.tzinfo
    if zone is None or type(zone) is timezone:
        return [value.isoformat(), value.fold, None]
    name = getattr(zone, "key", None)
    if type(zone).__name__ != "ZoneInfo" or not name:
        raise NotPlain(f"a datetime in a zone of type {type(zone).__name__} is not plain data")
    return [value.replace(tzinfo=None).isoformat(), value.fold, name]


def _as_moment(told: list[Any]) -> datetime:
    text, fold, zone = told
    value = datetime.fromisoformat(text).replace(fold=fold)
    if zone is None:
        return value
    from zoneinfo import ZoneInfo

    return value.replace(tzinfo=ZoneInfo(zone))


def _parts(value: Any) -> list[Any]:
    return [wrapped(each) for each in value]


def _zoned(value: time) -> list[Any]:
    if value.tzinfo is not None:
        raise NotPlain("a time of day with a zone is not plain data")
    return [value.isoformat(), value.fold]


_NATIVE: Final = frozenset({str, float, bool, bytes, type(None)})
_INT, _DATETIME, _PAIRS = 10, 11, 13
_EXTENSIONS: Final[dict[type, tuple[int, Callable[[Any], Any]]]] = {
    tuple: (1, _parts),
    set: (2, _parts),
    frozenset: (3, _parts),
    Decimal: (4, str),
    UUID: (5, lambda value: value.bytes),
    date: (6, date.isoformat),
    timedelta: (7, lambda value: [value.days, value.seconds, value.microseconds]),
    time: (8, _zoned),
    complex: (9, lambda value: [value.real, value.imag]),
    datetime: (_DATETIME, _moment),
    bytearray: (12, bytes),
}
_BACK: Final[dict[int, Callable[[Any], Any]]] = {
    1: tuple,
    2: set,
    3: frozenset,
    4: Decimal,
    5: lambda told: UUID(bytes=told),
    6: date.fromisoformat,
    7: lambda told: timedelta(*told),
    8: lambda told: time.fromisoformat(told[0]).replace(fold=told[1]),
    9: lambda told: complex(*told),
    _DATETIME: _as_moment,
    12: bytearray,
    _PAIRS: dict,
}


def _extension(code: int, data: memoryview) -> Any:
    if code == _INT:
        return int(bytes(data))
    back = _BACK.get(code)
    if back is None:
        raise ValueError(f"unknown extension {code}")
    return back(_decoder.decode(data))


_decoder: Final = msgspec.msgpack.Decoder(ext_hook=_extension)
