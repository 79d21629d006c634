"""What a cached function is called in the cache: the same in every process, and no other's."""

from __future__ import annotations

import inspect
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from llmcore.cache.arguments import NotDataError, canonical, digest

__all__ = ["name_of"]

_SHORT: Final = 16
_MUTABLE: Final = (list, dict, set, bytearray)
_tokens: Final[weakref.WeakKeyDictionary[Any, bytes]] = weakref.WeakKeyDictionary()


def name_of(function: Callable[..., Any]) -> str:
    """Return the module and qualified name, with a digest behind it where those do not tell functions apart.

    A nested function and a lambda are told apart by their code and by what they close over. To be asked at the first
    call, when what they close over is there.
    """
    module, name = function.__module__, function.__qualname__
    parts: list[bytes] = []
    if module == "__main__":
        module, parts = _main()
    if "<" in name or parts:
        parts += _told(function, seen=set())
    return f"{module}.{name}#{digest(parts)[:_SHORT]}" if parts else f"{module}.{name}"


def _main() -> tuple[str, list[bytes]]:
    """Return what the running program is called: its module where it is one, else its file's name in a digest."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name, []
    file = getattr(main, "__file__", None)
    return "__main__", [b"" if file is None else str(Path(file).resolve()).encode("utf-8", "surrogatepass")]


def _told(function: Callable[..., Any], seen: set[int]) -> list[bytes]:
    """Return what a function is made of: its code, and what it closes over."""
    function = inspect.unwrap(function)
    if id(function) in seen:
        return []
    seen.add(id(function))
    code = getattr(function, "__code__", None)
    if code is None:
        return [function.__qualname__.encode()]
    parts = [*_code(code)]
    for cell in function.__closure__ or ():
        try:
            parts.append(_closed_over(cell.cell_contents, seen))
        except ValueError:  # nothing in it yet
            parts.append(b"")
    return parts


def _code(code: types.CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield canonical([code.co_names, code.co_varnames, code.co_freevars])
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        elif constant is Ellipsis or isinstance(constant, slice):
            yield repr(constant).encode()
        else:
            yield canonical(constant)


def _closed_over(value: Any, seen: set[int]) -> bytes:
    """Return what tells *value* apart: data by what it is, a function by its code, anything else by being itself."""
    if isinstance(value, types.FunctionType):
        where = f"{value.__module__}.{value.__qualname__}".encode()
        return digest([where, *_told(value, seen)]).encode()
    if isinstance(value, types.ModuleType):
        return value.__name__.encode()
    if not isinstance(value, _MUTABLE):
        try:
            return canonical(value)
        except (NotDataError, RecursionError):
            pass
    try:
        return _tokens.setdefault(value, uuid4().bytes)
    except TypeError:  # it can be neither hashed nor watched
        return uuid4().bytes
