"""The options of the built-in backends and of the tables `[chat]`, `[log]` and `[smtp]`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from llmcore.hookspecs import Options
from llmcore.types import Duration, Secret, Size

__all__ = [
    "ChatTableOptions",
    "EchoOptions",
    "FileOptions",
    "LocalOptions",
    "LogOptions",
    "MemoryOptions",
    "Pattern",
    "SmtpOptions",
    "SqliteOptions",
]


class EchoOptions(Options):
    """`[llm.echo]`: no options."""


class MemoryOptions(Options):
    """`[cache.memory]`."""

    max_size: Size = Size(64 * 10**6)
    """Maximum bytes of keys, values and overhead. Above this size, entries are evicted."""
    eviction: Literal["lru", "lfu"] = "lru"
    """"lru" evicts the least recently used entries, "lfu" the least frequently used."""


class FileOptions(Options):
    """`[cache.file]`."""

    cache_dir: Path | None = None
    """Folder of the cache, relative to the configuration file.

    None means llmcore's folder in the user's cache folder.
    """
    max_size: Size = Size(10**9)
    """Maximum bytes of the file on disk. Before the file is full, the cache evicts entries: first the expired ones."""
    eviction: Literal["lru", "lfu"] = "lru"
    """"lru" evicts the least recently used entries, "lfu" approximately the least frequently used."""
    namespace: str = "default"
    """The namespace of the entries.

    All namespaces are in one file, but each sees only its own entries; `clear` empties one namespace.
    """


class SqliteOptions(Options):
    """`[ledger.sqlite]`. The keys of `[ledger]` are the defaults."""

    path: Path | None = None
    """The file of the ledger, relative to the configuration file.

    None means `ledger.sqlite3` in the user's state folder.
    """
    durability: Literal["normal", "full"] = "normal"
    """With "normal", a commit survives the end of the process; with "full", also a power cut."""


class LocalOptions(Options):
    """`[engines.local]`."""

    workers: int = 0
    """The number of worker processes on this machine. With 0, batches run in the process that reads their results."""


class ChatTableOptions(Options):
    """`[chat]`, for the command `llmcore chat`."""

    keep: bool = True
    """True if `llmcore chat` stores conversations."""


class Pattern(str):
    """A regular expression."""

    __slots__ = ()
    expected: Final = "a regular expression in quotes: 'AB-[0-9]{4}'"

    @classmethod
    def parse(cls, value: object) -> Pattern:
        """Read *value*.

        Raises:
            ValueError: *value* is not a regular expression.
        """
        import re

        if not isinstance(value, str) or not value:
            raise ValueError("a pattern must be text that is not empty")
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return cls(value)


class LogOptions(Options):
    """`[log]`: the log of prompts and answers."""

    content: bool = False
    """True writes prompts and answers to the log. With False, the log contains no part of them."""
    keep: Duration | None = None
    """Time after which an entry is deleted. If None, entries are not deleted."""
    redact: tuple[Pattern, ...] = ()
    """Patterns of texts to replace by [redacted]. API keys are always replaced."""
    path: Path | None = None
    """The file, relative to the configuration file. None means `log.sqlite3` in the user's state folder."""


class SmtpOptions(Options):
    """`[smtp]`: the mail server that sends alerts to the addresses in `alert_email`."""

    host: str
    """The name of the server."""
    port: int | None = None
    """The port. None means 587 with "starttls", 465 with "tls" and 25 with "none"."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """"starttls" switches to TLS before anything is sent, "tls" uses TLS from the start, "none" is for servers on this machine."""
    user: str | None = None
    """The name to log in with. None means no login."""
    password: Secret | None = None
    sender: str | None = None
    """The sender of the e-mails. None means `user` if it is an address, otherwise the first recipient."""
