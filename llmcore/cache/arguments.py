"""Make keys from arguments.

Nested data becomes canonical bytes that preserve the exact type at every depth.
"""

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

__all__ = ["NotDataError", "make_digest", "make_key_function", "to_canonical_bytes"]


_NOTE: Final = (
    "or pass cached(key=...) a function that returns a text. Calls with the same text share one entry, so the text must "
    "contain every argument; for `{name}`, use an attribute that is unique for each object, such as {name}.id"
)


class NotDataError(TypeError):
    """A value has no canonical byte representation, so its key could differ between processes."""


def to_canonical_bytes(value: Any) -> bytes:
    """Return canonical bytes, which are equal if and only if values and types are equal. The order of dicts is ignored.

    Raises:
        NotDataError: The value, or a value in it, has no canonical bytes, such as a lock.
        RecursionError: The value contains itself.
    """
    kind = type(value)
    known = _KINDS.get(kind)
    if known is not None:
        letter, encode = known
        body = encode(value)
        return b"%c%d:%b" % (letter, len(body), body)
    return _encode_object(kind, value)


def make_digest(parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of *parts* as hexadecimal text."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()


def make_key_function(function: Callable[..., Any]) -> Callable[..., str]:
    """Return a function that makes a key from arguments.

    The calls f(1), f(x=1) and f() with the default 1 have the same key. For arguments that do not match the
    signature, the returned function raises the TypeError of *function*. For arguments that are not data it
    raises CacheError.
    """
    signature = inspect.signature(function, follow_wrapped=False)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    names = tuple(signature.parameters)
    simple = kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}

    def make_key(*args: Any, **kwargs: Any) -> str:
        if simple and not kwargs and len(args) == len(names):
            values: Iterable[Any] = args
        else:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                function(*args, **kwargs)  # this call raises a TypeError with a better message
                raise
            bound.apply_defaults()
            values = bound.arguments.values()
        return make_digest(
            [_encode_argument(function, name, value) for name, value in zip(names, values, strict=True)]
        )

    return make_key


def _encode_argument(function: Callable[..., Any], name: str, value: object) -> bytes:
    cause = ""
    try:
        return to_canonical_bytes(value)
    except NotDataError as error:
        cause = str(error)
    except RecursionError:
        cause = "it contains itself, or is nested too deep"
    raise CacheError(
        f"cannot make a key from the arguments of {function.__qualname__}: `{name}`: {cause}",
        code="LC704",
        where=f"{function.__module__}.{function.__qualname__}({name}=...)",
        expected="data: plain values, containers of them, dataclasses, Enums, msgspec or pydantic models; "
        "or an object with a method `__cache_key__()` that returns data",
        notes=(_NOTE.format(name=name),),
    )


def _encode_object(kind: type, value: Any) -> bytes:
    if isinstance(value, type):
        return _encode_tagged(b"class", _encode_class_name(value))
    own = getattr(kind, "__cache_key__", None)
    if own is not None:
        return _encode_tagged(b"own", _encode_class_name(kind, local=True), to_canonical_bytes(own(value)))
    if isinstance(value, Enum):
        return _encode_tagged(
            b"enum",
            _encode_class_name(kind),
            value.name.encode() if value.name else to_canonical_bytes(value.value),
        )
    if isinstance(value, PurePath):
        return _encode_tagged(b"path", kind.__name__.encode(), _encode_text(str(value)))
    fields = _list_fields(kind, value)
    if fields is None:
        raise NotDataError(f"objects of type {kind.__qualname__} are not data")
    return _encode_tagged(b"object", _encode_class_name(kind), *(to_canonical_bytes(pair) for pair in fields))


def _list_fields(kind: type, value: Any) -> list[tuple[str, Any]] | None:
    """Return the names and values of the fields of a dataclass, model, struct or named tuple; None for other values."""
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


def _encode_class_name(kind: type, *, local: bool = False) -> bytes:
    """Return the module and qualified name of a class.

    Raises:
        NotDataError: The class is local to a function, and *local* is false.
    """
    if "<locals>" in kind.__qualname__ and not local:
        raise NotDataError(
            f"the class {kind.__qualname__} is defined in a function, so its name may not be unique"
        )
    return _encode_text(f"{kind.__module__}.{kind.__qualname__}")


def _encode_tagged(what: bytes, *parts: bytes) -> bytes:
    body = b"".join(b"%d:%b" % (len(part), part) for part in (what, *parts))
    return b"o%d:%b" % (len(body), body)


def _encode_text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _encode_items(value: Iterable[Any]) -> bytes:
    return b"".join([to_canonical_bytes(each) for each in value])


def _encode_unordered(value: Iterable[Any]) -> bytes:
    return b"".join(sorted([to_canonical_bytes(each) for each in value]))


def _encode_pairs(value: dict[Any, Any]) -> bytes:
    return b"".join(
        sorted([to_canonical_bytes(key) + to_canonical_bytes(each) for key, each in value.items()])
    )


def _encode_time(value: datetime | time) -> bytes:
    return f"{value.isoformat()} {value.fold} {value.tzinfo!r}".encode()


_KINDS: Final[dict[type, tuple[bytes, Callable[[Any], bytes]]]] = {
    type(None): (b"n", lambda _: b""),
    bool: (b"b", lambda value: b"%d" % value),
    int: (b"i", lambda value: b"%x" % value),
    float: (b"f", lambda value: value.hex().encode()),
    complex: (b"c", lambda value: f"{value.real.hex()} {value.imag.hex()}".encode()),
    str: (b"s", _encode_text),
    bytes: (b"y", bytes),
    bytearray: (b"a", bytes),
    list: (b"l", _encode_items),
    tuple: (b"t", _encode_items),
    set: (b"e", _encode_unordered),
    frozenset: (b"z", _encode_unordered),
    dict: (b"d", _encode_pairs),
    range: (b"r", lambda value: f"{value.start} {value.stop} {value.step}".encode()),
    Decimal: (b"D", lambda value: str(value).encode()),
    UUID: (b"u", lambda value: value.bytes),
    datetime: (b"T", _encode_time),
    date: (b"A", lambda value: value.isoformat().encode()),
    time: (b"H", _encode_time),
    timedelta: (b"S", lambda value: f"{value.days} {value.seconds} {value.microseconds}".encode()),
}
