"""Finds every lock, thread, executor and event loop that our modules and objects refer to."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import functools
import gc
import importlib
import pkgutil
import queue
import threading
import types
from collections.abc import Iterator
from typing import Any

PLUGINS = (
    "anthropic", "cache_memcached", "cache_redis", "ledger_postgres", "openai_optimized", "storage_fs", "storage_object", "voice_espeak", "voice_tts",
)  # fmt: skip
LOCKS = (type(threading.Lock()), type(threading.RLock()))
CONTAINERS = (list, tuple, set, frozenset, collections.deque, types.MappingProxyType)
CODE = (types.MethodType, types.CellType, functools.partial, functools._lru_cache_wrapper)


def iterate_modules() -> Iterator[types.ModuleType]:
    """Yield every module of the host and of our plugins."""
    for package in ("llmcore", *(f"llmcore_{plugin}" for plugin in PLUGINS)):
        found = importlib.import_module(package)
        yield found
        for info in pkgutil.walk_packages(found.__path__, package + "."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


def find_objects(root: object, also: str) -> dict[int, tuple[str, Any]]:
    """Return what can be reached from *root* and our modules without entering a library, by id, with its path.

    *also* is the module of *root*, which is entered like ours.
    """
    seen: dict[int, tuple[str, Any]] = {}
    left: list[tuple[str, Any]] = [("root", root)]
    left += [(module.__name__, module) for module in iterate_modules()]
    while left:
        path, thing = left.pop()
        if id(thing) in seen or isinstance(thing, str | bytes | int | float | None):
            continue
        seen[id(thing)] = (path, thing)
        left += [(f"{path}.{name}", inner) for name, inner in iterate_references(thing, also)]
    return seen


def iterate_references(thing: Any, also: str) -> Iterator[tuple[str, Any]]:
    """Yield what *thing* refers to, unless it is a library's."""
    if isinstance(thing, dict):
        return ((repr(key)[:40], value) for key, value in list(thing.items()))
    if isinstance(thing, (*CONTAINERS, *CODE)):
        return (("[]", inner) for inner in gc.get_referents(thing))
    if isinstance(thing, types.ModuleType):
        return iter(vars(thing).items() if thing.__name__.startswith("llmcore") else ())
    owner = thing if isinstance(thing, type | types.FunctionType) else type(thing)
    if not str(owner.__module__).startswith(("llmcore", also)):
        return iter(())
    if isinstance(thing, types.FunctionType):
        return (("()", cell) for cell in (*(thing.__closure__ or ()), *(thing.__defaults__ or ())))
    return iterate_attributes(thing)


def iterate_attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    yield from list(getattr(thing, "__dict__", {}).items())
    for base in () if isinstance(thing, type) else type(thing).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)


def find_lock(thing: Any) -> Any:
    """Return the lock that *thing* is or has; None where it has none."""
    if isinstance(thing, LOCKS):
        return thing
    if isinstance(thing, threading.Event | threading.Semaphore):
        thing = vars(thing)["_cond"]
    if isinstance(thing, threading.Condition):
        return vars(thing)["_lock"]
    return thing.mutex if isinstance(thing, queue.Queue) else None


def find_fault(thing: Any, before: dict[int, tuple[str, Any]]) -> str | None:
    """Return why a child must not use *thing*."""
    lock = find_lock(thing)
    if lock is not None:
        if not lock.acquire(blocking=False):
            return "a thread of the parent holds it"
        lock.release()
    elif isinstance(thing, threading.Thread):
        return None if thing.is_alive() else "its thread runs in the parent"
    elif isinstance(thing, asyncio.AbstractEventLoop):
        return "it is the parent's event loop" if id(thing) in before else None
    elif isinstance(thing, queue.SimpleQueue):
        return "threads of the parent wait for it" if id(thing) in before else None
    elif isinstance(thing, concurrent.futures.Executor):
        try:
            thing.submit(int).result(timeout=60)
        except TimeoutError:
            return "its threads are the parent's"
    return None
