"""Register the built-in backends (`echo`, `memory`, `file`, `sqlite`, `local`) and tables (`chat`, `log`, `smtp`).

Plugins use the same hooks.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmcore.builtin.options import (
    ChatTableOptions,
    EchoOptions,
    FileOptions,
    LocalOptions,
    LogOptions,
    MemoryOptions,
    SmtpOptions,
    SqliteOptions,
)
from llmcore.hookspecs import COMMON_PARAMETERS, Provider, Table, hookimpl
from llmcore.log import get_logger

__all__ = ["LLMCORE_API"]

LLMCORE_API = 1


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
        if options.cache_dir is not None:  # the user chose the folder: do not store entries elsewhere
            raise
        problem = error.message
    get_logger(__name__).warning("%s; entries are kept in the memory of this process", problem)
    return _create_memory(MemoryOptions())


def _create_sqlite(options: SqliteOptions) -> object:
    from llmcore.builtin.sqlite_ledger.provider import SqliteLedger

    return SqliteLedger(options)


def _create_local(options: LocalOptions) -> object:
    from llmcore.builtin.local_engine.provider import LocalEngine

    return LocalEngine(options)


@hookimpl
def llmcore_llm_providers() -> Iterator[Provider]:
    """Register `echo`, which repeats the user's message at no cost."""
    parameters = COMMON_PARAMETERS | {"extra_body"}
    yield Provider(name="echo", options=EchoOptions, create=_create_echo, parameters=parameters)


@hookimpl
def llmcore_cache_providers() -> Iterator[Provider]:
    """Register `memory`, for one process, and `file`, for all processes of a machine."""
    yield Provider(name="memory", options=MemoryOptions, create=_create_memory)
    yield Provider(name="file", options=FileOptions, create=_create_file)


@hookimpl
def llmcore_ledger_providers() -> Iterator[Provider]:
    """Offer `sqlite`, one file for all processes of a machine."""
    yield Provider(name="sqlite", options=SqliteOptions, create=_create_sqlite)


@hookimpl
def llmcore_engine_providers() -> Iterator[Provider]:
    """Offer `local`, the processes of this machine."""
    yield Provider(name="local", options=LocalOptions, create=_create_local)


@hookimpl
def llmcore_tables() -> Iterator[Table]:
    """Declare `[chat]`, `[log]` and `[smtp]`."""
    yield Table(name="chat", options=ChatTableOptions)
    yield Table(name="log", options=LogOptions)
    yield Table(name="smtp", options=SmtpOptions)
