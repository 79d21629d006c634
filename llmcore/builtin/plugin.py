"""Offers the embedded backends through the same hooks as any plugin: `echo`, `memory` and `file`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Size

__all__ = ["LLMCORE_API", "EchoOptions", "FileOptions", "MemoryOptions"]

LLMCORE_API = 1


class EchoOptions(Options):
    """`[llm.echo]`: there is nothing to set."""


class MemoryOptions(Options):
    """`[cache.memory]`."""

    max_size: Size = Size(64 * 10**6)
    """Bytes of keys, values and their bookkeeping; beyond it entries go."""
    eviction: Literal["lru", "lfu"] = "lru"
    """Which go first: those used longest ago, or those used least often."""


class FileOptions(Options):
    """`[cache.file]`."""

    cache_dir: Path | None = None
    """Folder of the cache; a relative one counts from that of the file that says it. None takes llmcore's folder among the user's caches."""
    max_size: Size = Size(10**9)
    """Bytes that the file may take on the disk; before it is full, entries go, the expired ones first."""
    eviction: Literal["lru", "lfu"] = "lru"
    """Which go then: those used longest ago, or those used least often, by and large."""
    namespace: str = "default"
    """Entries of different namespaces share the file and never meet; `clear` empties one namespace."""


def _echo(options: EchoOptions) -> object:
    from llmcore.builtin.echo import EchoProvider

    return EchoProvider(options)


def _memory(options: MemoryOptions) -> object:
    from llmcore.builtin.memory_cache import MemoryCache

    return MemoryCache(options)


def _file(options: FileOptions) -> object:
    from llmcore.builtin.file_cache import FileCache

    return FileCache(options)


@hookimpl
def llmcore_llm_providers() -> Iterator[Provider]:
    """Offer `echo`, which answers with what it was told and costs nothing."""
    yield Provider(name="echo", options=EchoOptions, create=_echo)


@hookimpl
def llmcore_cache_providers() -> Iterator[Provider]:
    """Offer `memory`, for one process, and `file`, for all of a machine."""
    yield Provider(name="memory", options=MemoryOptions, create=_memory)
    yield Provider(name="file", options=FileOptions, create=_file)
