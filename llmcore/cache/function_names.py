"""Name cached functions. A name is unique, and equal in every process."""

from __future__ import annotations

import inspect
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from llmcore.cache.arguments import NotDataError, make_digest, to_canonical_bytes

__all__ = ["make_name"]

_SHORT: Final = 16
_MUTABLE: Final = (list, dict, set, bytearray)
_tokens: Final[weakref.WeakKeyDictionary[Any, bytes]] = weakref.WeakKeyDictionary()


def make_name(function: Callable[..., Any]) -> str:
    """Return module and qualified name, with a digest appended if several functions could have this name.

    The digest of a nested function or a lambda covers its code and its closure. Call this at the first call of the
    function, when its closure is complete.
    """
    module, name = function.__module__, function.__qualname__
    parts: list[bytes] = []
    if module == "__main__":
        module, parts = _name_main_module()
    if "<" in name or parts:
        parts += _describe_function(function, seen=set())
    return f"{module}.{name}#{make_digest(parts)[:_SHORT]}" if parts else f"{module}.{name}"


def _name_main_module() -> tuple[str, list[bytes]]:
    """Return the module name of the running program, and a list with the path of the program's file as bytes.

    The list is empty if the program was started as a module.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name, []
    file = getattr(main, "__file__", None)
    return "__main__", [b"" if file is None else str(Path(file).resolve()).encode("utf-8", "surrogatepass")]


def _describe_function(function: Callable[..., Any], seen: set[int]) -> list[bytes]:
    """Return the code and closure of a function as bytes."""
    function = inspect.unwrap(function)
    if id(function) in seen:
        return []
    seen.add(id(function))
    code = getattr(function, "__code__", None)
    if code is None:
        return [function.__qualname__.encode()]
    parts = [*_describe_code(code)]
    for cell in function.__closure__ or ():
        try:
            parts.append(_describe_value(cell.cell_contents, seen))
        except ValueError:  # a closure cell without a value
            parts.append(b"")
    return parts


def _describe_code(code: types.CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield to_canonical_bytes([code.co_names, code.co_varnames, code.co_freevars])
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _describe_code(constant)
        elif constant is Ellipsis or isinstance(constant, slice):
            yield repr(constant).encode()
        else:
            yield to_canonical_bytes(constant)


def _describe_value(value: Any, seen: set[int]) -> bytes:
    """Return bytes that identify *value*.

    The bytes of plain data contain the data, those of a function a digest of its code, and those of a module its
    name. Any other object gets a random token.
    """
    if isinstance(value, types.FunctionType):
        where = f"{value.__module__}.{value.__qualname__}".encode()
        return make_digest([where, *_describe_function(value, seen)]).encode()
    if isinstance(value, types.ModuleType):
        return value.__name__.encode()
    if not isinstance(value, _MUTABLE):
        try:
            return to_canonical_bytes(value)
        except (NotDataError, RecursionError):
            pass
    try:
        return _tokens.setdefault(value, uuid4().bytes)
    except TypeError:  # the value cannot be a key of a WeakKeyDictionary
        return uuid4().bytes
