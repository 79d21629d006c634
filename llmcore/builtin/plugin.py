"""Register the built-in backends `echo`, `memory` and `file`, and the tables of commands, through the same hooks as any plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from llmcore.hookspecs import COMMON_PARAMETERS, Options, Provider, Table, hookimpl
from llmcore.log import logger
from llmcore.types import Size

__all__ = ["LLMCORE_API", "ChatOptions", "EchoOptions", "FileOptions", "MemoryOptions"]

LLMCORE_API = 1


class EchoOptions(Options):
    """`[llm.echo]`: no options."""


class MemoryOptions(Options):
    """`[cache.memory]`."""

    max_size: Size = Size(64 * 10**6)
    """Maximum bytes of keys, values and overhead. Beyond it, entries are evicted."""
    eviction: Literal["lru", "lfu"] = "lru"
    """Evict the least recently used entries, or the least frequently used."""


class FileOptions(Options):
    """`[cache.file]`."""

    cache_dir: Path | None = None
    """Folder of the cache, relative to the configuration file. None means llmcore's folder in the user's cache folder."""
    max_size: Size = Size(10**9)
    """Maximum bytes of the file on disk. Before it is full, entries are evicted, expired ones first."""
    eviction: Literal["lru", "lfu"] = "lru"
    """Evict the least recently used entries, or approximately the least frequently used."""
    namespace: str = "default"
    """Namespaces share the file, but not their entries; `clear` empties one namespace."""


class ChatOptions(Options):
    """`[chat]`, for the command `llmcore chat`."""

    keep: bool = True
    """Whether conversations are kept."""


def _create_echo(options: EchoOptions) -> object:
    from llmcore.builtin.echo import EchoProvider

    return EchoProvider(options)


def _create_memory(options: MemoryOptions) -> object:
    from llmcore.builtin.memory_cache import MemoryCache

    return MemoryCache(options)


def _create_file(options: FileOptions) -> object:
    from llmcore.builtin.file_cache import FileCache
    from llmcore.builtin.lmdb_files import CacheFolderError

    try:
        return FileCache(options)
    except CacheFolderError as error:
        if options.cache_dir is not None:  # no other place for a folder that the user chose
            raise
        problem = error.message
    logger(__name__).warning("%s; entries are kept in the memory of this process", problem)
    return _create_memory(MemoryOptions())


@hookimpl
def llmcore_llm_providers() -> Iterator[Provider]:
    """Offer `echo`, which repeats the user's message and costs nothing."""
    parameters = COMMON_PARAMETERS | {"extra_body"}
    yield Provider(name="echo", options=EchoOptions, create=_create_echo, parameters=parameters)


@hookimpl
def llmcore_cache_providers() -> Iterator[Provider]:
    """Offer `memory`, for one process, and `file`, for all processes of a machine."""
    yield Provider(name="memory", options=MemoryOptions, create=_create_memory)
    yield Provider(name="file", options=FileOptions, create=_create_file)


@hookimpl
def llmcore_tables() -> Iterator[Table]:
    """Declare `[chat]`."""
    yield Table(name="chat", options=ChatOptions)
