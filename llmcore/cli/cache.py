"""`llmcore cache`: show the content of the configured cache, and clear the cache."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcore.cache.breaker import is_unreachable
from llmcore.cache.self_test import try_operations
from llmcore.calls.backend_call import call_backend
from llmcore.calls.drivers import run as driven
from llmcore.cli.command_helpers import open_core
from llmcore.cli.parser import make_action_adder
from llmcore.cli.show import format_bytes, note, print_json, put
from llmcore.errors import CacheError

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["configure"]

_VALUES = "v:"
"""Prefix of the keys of an application's own values; all other keys are replies."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cache`."""
    parser.set_defaults(run=_show_stats)
    add = make_action_adder(parser)
    action = add("stats", "show entries, size and folder, as far as the backend knows them", _show_stats)
    action.add_argument("--keys", action="store_true", help="list the keys")
    add("clear", "delete every entry of the configured namespace", _clear)


def _show_stats(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        unavailable: dict[str, str] = {}
        try:
            keys = _list_keys(core)
        except CacheError as error:
            if is_unreachable(error):
                raise
            keys, unavailable = None, {"keys": error.message}
        folder = getattr(core.backend("cache").provider, "folder", None)
        size = _get_size(core, folder)
        unavailable |= driven(try_operations(core.backend("cache")))
        stats: dict[str, Any] = {
            "provider": core.backend("cache").name,
            "namespace": core.settings.cache.namespace,
            "entries": None if keys is None else len(keys),
            "values": None if keys is None else sum(key.startswith(_VALUES) for key in keys),
            "size_bytes": size,
            "folder": None if folder is None else str(folder),
            "unavailable": unavailable,
        }
    listed = (keys or []) if getattr(args, "keys", False) else []
    if args.json:
        print_json(**stats, **({"keys": listed} if getattr(args, "keys", False) else {}))
        return 0
    put(f"provider   {stats['provider']}")
    put(f"namespace  {stats['namespace']}")
    if keys is None:
        put("entries    unknown: the backend cannot list keys")
    else:
        put(f"entries    {stats['entries']} ({stats['values']} of them an application's own values)")
    if size is not None:
        put(f"size       {format_bytes(size)}")
    if folder is not None:
        put(f"folder     {folder}")
    for operation, why in unavailable.items():
        put(f"fails      `{operation}` is unavailable: {why}")
    for key in listed:
        put(f"  {key}")
    return 0


def _clear(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        backend = core.backend("cache")
        driven(call_backend(backend, backend.require("clear")(), CacheError))
        note(f"cleared the namespace {core.settings.cache.namespace} of the cache {backend.name}")
        if args.json:
            print_json(provider=backend.name, namespace=core.settings.cache.namespace, cleared=True)
    return 0


def _list_keys(core: Core) -> list[str] | None:
    backend = core.backend("cache")
    ability = backend.find_ability("keys")
    return None if ability is None else sorted(driven(call_backend(backend, ability(), CacheError)))


def _get_size(core: Core, folder: Path | None) -> int | None:
    """Return the size of the cache in bytes, as the backend reports it, or the disk usage of the cache's folder."""
    size = getattr(core.backend("cache").provider, "size_bytes", None)
    if callable(size):
        size = size()
    if size is None and folder is not None:
        states: list[os.stat_result] = []
        with suppress(OSError):
            states = [file.stat() for file in folder.iterdir() if file.is_file()]
        # the space on disk, because a file may be sparse
        size = sum(getattr(state, "st_blocks", state.st_size // 512 + 1) * 512 for state in states)
    return size if isinstance(size, int) else None
