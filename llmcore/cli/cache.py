"""`llmcore cache`: what the configured cache holds, and an end to it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcore.calls.asking import asked
from llmcore.calls.drivers import run as driven
from llmcore.cli.opening import opened
from llmcore.cli.parser import actions
from llmcore.cli.show import bytes_text, note, print_json
from llmcore.errors import CacheError

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["configure"]

_VALUES = "v:"
"""How the keys of an application's own values begin; all others are replies."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `cache` takes."""
    parser.set_defaults(run=_stats)
    add = actions(parser)
    stats = add("stats", "tell how much is kept, as far as the backend can tell", _stats)
    stats.add_argument("--keys", action="store_true", help="list the keys")
    add("clear", "forget everything in the configured namespace", _clear)


def _stats(args: argparse.Namespace) -> int:
    with opened(args) as core:
        keys = _keys(core)
        folder = getattr(core.backend("cache").provider, "folder", None)
        size = _size(core, folder)
        told: dict[str, Any] = {
            "provider": core.backend("cache").name,
            "namespace": core.settings.cache.namespace,
            "entries": None if keys is None else len(keys),
            "values": None if keys is None else sum(key.startswith(_VALUES) for key in keys),
            "size_bytes": size,
            "folder": None if folder is None else str(folder),
        }
    listed = (keys or []) if getattr(args, "keys", False) else []
    if args.json:
        print_json(**told, **({"keys": listed} if getattr(args, "keys", False) else {}))
        return 0
    print(f"provider   {told['provider']}")
    print(f"namespace  {told['namespace']}")
    if keys is None:
        print("entries    the backend cannot tell")
    else:
        print(f"entries    {told['entries']} ({told['values']} of them an application's own values)")
    if size is not None:
        print(f"size       {bytes_text(size)}")
    if folder is not None:
        print(f"folder     {folder}")
    for key in listed:
        print(f"  {key}")
    return 0


def _clear(args: argparse.Namespace) -> int:
    with opened(args) as core:
        backend = core.backend("cache")
        driven(asked(backend, backend.must("clear")(), CacheError))
        note(f"cleared the namespace {core.settings.cache.namespace} of the cache {backend.name}")
        if args.json:
            print_json(provider=backend.name, namespace=core.settings.cache.namespace, cleared=True)
    return 0


def _keys(core: Core) -> list[str] | None:
    backend = core.backend("cache")
    ability = backend.ability("keys")
    return None if ability is None else sorted(driven(asked(backend, ability(), CacheError)))


def _size(core: Core, folder: Path | None) -> int | None:
    """Return what the backend says that it takes, or what its folder takes on the disk."""
    size = getattr(core.backend("cache").provider, "size_bytes", None)
    if callable(size):
        size = size()
    if size is None and folder is not None:
        states = [file.stat() for file in folder.iterdir() if file.is_file()]
        size = sum(
            getattr(state, "st_blocks", state.st_size // 512 + 1) * 512 for state in states
        )  # sparse files
    return size if isinstance(size, int) else None
