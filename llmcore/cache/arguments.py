"""Keys from arguments: canonical over nested data, with types told apart at every depth."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from llmcore.errors import CacheError

__all__ = ["NotDataError", "canonical", "digest", "named_by_arguments"]


class NotDataError(TypeError):
    """A value says nothing lasting about itself."""


def canonical(value: Any) -> bytes:
    """Return the same bytes for equal values of equal types, and for no others; the order of dicts is no matter.

    Raises:
        NotDataError: The value is, or holds, what is not data.
        RecursionError: It holds itself.
    """
    kind = type(value)
    known = _KINDS.get(kind)
    if known is not None:
        letter, told = known
        body = told(value)
        return b"%c%d:%b" % (letter, len(body), body)
    return _object(kind, value)


def digest(parts: Iterable[bytes]) -> str:
    """Return a short text that stands for *parts*."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()


def named_by_arguments(function: Callable[..., Any]) -> Callable[..., str]:
    """Return what makes a key of the arguments: the same for f(1), f(x=1) and a default of 1.

    It raises what *function* raises for arguments that do not fit it, and CacheError for those that are not data.
    """
    signature = inspect.signature(function, follow_wrapped=False)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    names = tuple(signature.parameters)
    simple = kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}

    def named(*args: Any, **kwargs: Any) -> str:
        if simple and not kwargs and len(args) == len(names):
            values: Iterable[Any] = args
        else:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                function(*args, **kwargs)  # says it better
                raise
            bound.apply_defaults()
            values = bound.arguments.values()
        return digest([_argument(function, name, value) for name, value in zip(names, values, strict=True)])

    return named


def _argument(function: Callable[..., Any], name: str, value: object) -> bytes:
    cause = ""
    try:
        return canonical(value)
    except NotDataError as error:
        cause = str(error)
    except RecursionError:
        cause = "it holds itself, or is nested too deep"
    raise CacheError(
        f"the arguments of {function.__qualname__} do not make a key: `{name}`: {cause}",
        code="LC704",
        where=f"{function.__module__}.{function.__qualname__}({name}=...)",
        expected="data: plain values, containers of them, dataclasses, Enums, msgspec or pydantic models; "
        "or an object with a method `__cache_key__()` that returns data",
        fix=f"@cache.cached(key=lambda {', '.join(inspect.signature(function).parameters)}: '...')",
    )


def _object(kind: type, value: Any) -> bytes:
    if isinstance(value, type):
        return _tagged(b"class", _name(value))
    own = getattr(kind, "__cache_key__", None)
    if own is not None:
        return _tagged(b"own", _name(kind, local=True), canonical(own(value)))
    if isinstance(value, Enum):
        return _tagged(b"enum", _name(kind), value.name.encode() if value.name else canonical(value.value))
    if isinstance(value, PurePath):
        return _tagged(b"path", kind.__name__.encode(), _text(str(value)))
    fields = _fields(kind, value)
    if fields is None:
        raise NotDataError(f"objects of type {kind.__qualname__} are not data")
    return _tagged(b"object", _name(kind), *(canonical(pair) for pair in fields))


def _fields(kind: type, value: Any) -> list[tuple[str, Any]] | None:
    """Return what a data object consists of, None where it is not one."""
    if dataclasses.is_dataclass(kind):
        names: Iterable[str] = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "__struct_fields__"):
        names = kind.__struct_fields__
    elif hasattr(kind, "__pydantic_fields__"):
        names = [*kind.__pydantic_fields__, *(value.__pydantic_extra__ or ())]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [attribute.name for attribute in kind.__attrs_attrs__]
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = kind._fields
    else:
        return None
    return [(name, getattr(value, name)) for name in names]


def _name(kind: type, *, local: bool = False) -> bytes:
    """Return the lasting name of a class."""
    if "<locals>" in kind.__qualname__ and not local:
        raise NotDataError(f"the class {kind.__qualname__} has no lasting name, since a function made it")
    return _text(f"{kind.__module__}.{kind.__qualname__}")


def _tagged(what: bytes, *parts: bytes) -> bytes:
    body = b"".join(b"%d:%b" % (len(part), part) for part in (what, *parts))
    return b"o%d:%b" % (len(body), body)


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _items(value: Iterable[Any]) -> bytes:
    return b"".join([canonical(each) for each in value])


def _unordered(value: Iterable[Any]) -> bytes:
    return b"".join(sorted([canonical(each) for each in value]))


def _pairs(value: dict[Any, Any]) -> bytes:
    return b"".join(sorted([canonical(key) + canonical(each) for key, each in value.items()]))


def _zoned(value: datetime | time) -> bytes:
    return f"{value.isoformat()} {value.fold} {value.tzinfo!r}".encode()


_KINDS: Final[dict[type, tuple[bytes, Callable[[Any], bytes]]]] = {
    type(None): (b"n", lambda _: b""),
    bool: (b"b", lambda value: b"%d" % value),
    int: (b"i", lambda value: b"%x" % value),
    float: (b"f", lambda value: value.hex().encode()),
    complex: (b"c", lambda value: f"{value.real.hex()} {value.imag.hex()}".encode()),
    str: (b"s", _text),
    bytes: (b"y", bytes),
    bytearray: (b"a", bytes),
    list: (b"l", _items),
    tuple: (b"t", _items),
    set: (b"e", _unordered),
    frozenset: (b"z", _unordered),
    dict: (b"d", _pairs),
    range: (b"r", lambda value: f"{value.start} {value.stop} {value.step}".encode()),
    Decimal: (b"D", lambda value: str(value).encode()),
    UUID: (b"u", lambda value: value.bytes),
    datetime: (b"T", _zoned),
    date: (b"A", lambda value: value.isoformat().encode()),
    time: (b"H", _zoned),
    timedelta: (b"S", lambda value: f"{value.days} {value.seconds} {value.microseconds}".encode()),
}
