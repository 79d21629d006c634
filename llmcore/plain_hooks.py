"""Find the hooks of a plugin's module without pluggy, if they are so simple that pluggy need not check them.

Importing pluggy takes longer than a cached answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import FunctionType, MethodType, ModuleType
from typing import Final

__all__ = ["find_plain_hooks"]

_STARRED: Final = 0x04 | 0x08
"""Flags of a code object with `*args` or `**kwargs`."""


def find_plain_hooks(
    module: ModuleType, names: Collection[str]
) -> dict[str, list[Callable[[], object]]] | None:
    """Return a dict from the name of each hook to its implementations in *module*; None if pluggy must check the hooks.

    Pluggy need not check hooks that are functions without arguments, are named in *names*, and are marked with
    `@hookimpl` without options.
    """
    if type(module) is not ModuleType or "__dir__" in vars(module):  # pluggy reads `dir(module)`
        return None
    found: dict[str, list[Callable[[], object]]] = {}
    for name, value in vars(module).items():
        if not isinstance(value, FunctionType | MethodType) or not hasattr(value, "llmcore_impl"):
            continue
        code = value.__code__
        if code.co_argcount or code.co_kwonlyargcount or code.co_flags & _STARRED:
            return None
        if name not in names or value.llmcore_impl != {}:
            return None
        found[name] = [value]
    return found
