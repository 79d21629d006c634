"""A file next to the ledger for rows that the ledger does not have yet: cache hits, and calls during an outage.

Processes append lines. The next process that uses the ledger renames the file and inserts its rows exactly once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from llmcore import forks
from llmcore.config.money import LedgerSettings
from llmcore.log import get_logger
from llmcore.support.ledger_rows import LedgerRow

__all__ = ["Batch", "Spool", "make_spool"]

_REMEMBER_S: Final = 60.0
"""Seconds for which the ledger remembers the name of a batch after the file of the batch was deleted.

Another process may have read the file before that, and may insert its rows late. The ledger ignores these rows,
because it still knows the name.
"""


class Batch(NamedTuple):
    """The rows of one file."""

    name: str
    """The unique name of the batch."""
    rows: Sequence[LedgerRow]
    path: Path


class Spool:
    """The file of one ledger. All processes on this machine share it."""

    def __init__(self, ledger: Path, server: str = "") -> None:
        """Use the file next to *ledger*.

        *server* identifies a ledger on a server, and is empty for a SQLite file. Each server has a separate file.
        """
        name = ledger.name
        if server:
            import hashlib

            name += f"-{hashlib.sha256(server.encode()).hexdigest()[:16]}"
        self._path = ledger.with_name(f"{name}.hits")
        self._deleted: dict[str, float] = {}
        """Batch -> the time when the file of the batch was deleted, by `time.monotonic`."""

    def append(self, lines: Sequence[bytes]) -> None:
        """Append lines, each a JSON value. Raises OSError if they cannot be written."""
        _append(self._path, b"".join(line + b"\n" for line in lines))

    def append_row(self, row: LedgerRow) -> None:
        """Append the row of one request. Raises OSError if it cannot be written."""
        self.append([msgspec.json.encode(row)])

    def iterate_batches(self) -> Iterator[Batch]:
        """Rename the file and yield the waiting batches. The caller must `delete` a batch after the ledger has stored it."""
        with contextlib.suppress(OSError):
            _set_aside(self._path)
        for path in sorted(self._path.parent.glob(self._path.name + ".*")):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:  # another process has taken the file
                continue
            except OSError as error:
                # for example a file of another user, which must not make the calls of this user fail
                get_logger(__name__).warning(
                    "the rows of %s were not imported into the ledger: %s", path, error.strerror
                )
                continue
            yield Batch(path.name, [row for line in lines if (row := _decode(line)) is not None], path)

    def delete(self, batch: Batch) -> None:
        """Delete the file of *batch* after the ledger has stored its rows."""
        batch.path.unlink(missing_ok=True)
        self._deleted[batch.name] = time.monotonic()

    def take_forgotten(self) -> list[str]:
        """Return the names of batches that no process can insert any more, so the ledger need not remember these names."""
        now = time.monotonic()
        old = [name for name, at in self._deleted.items() if now - at >= _REMEMBER_S]
        for name in old:
            del self._deleted[name]
        return old


def _decode(line: bytes) -> LedgerRow | None:
    """Return the row; None if a full disk truncated the line."""
    try:
        value: Any = msgspec.json.decode(line)
        if isinstance(value, dict):
            return msgspec.convert(value, LedgerRow)
        at, count, kind, provider, model, user, tags, saved = value
        return LedgerRow(
            at=at,
            state="hit",
            count=count,
            kind=kind,
            provider=provider,
            model=model,
            cost=0,
            saved=int(Decimal(saved).scaleb(9)),
            user=user,
            tags=tuple(tags),
        )
    except (msgspec.MsgspecError, ValueError, ArithmeticError, TypeError):
        return None


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with _lock(file):
                if _is_at(file, path):  # the file was not renamed between opening and locking
                    os.write(file, data)
                    return
        finally:
            os.close(file)


def _set_aside(path: Path) -> None:
    """Rename the file, so that other processes stop appending to it."""
    try:
        file = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return
    try:
        with _lock(file):
            if _is_at(file, path):
                path.rename(path.with_name(f"{path.name}.{os.urandom(16).hex()}"))
    finally:
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _lock(file: int) -> Any:
    try:
        import fcntl
    except ImportError:  # Windows has no `fcntl`, but refuses to rename or delete an open file
        yield
        return
    with forks.delay():  # a forked child would inherit the open file together with its lock
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def make_spool(ledger: LedgerSettings, get_location: Callable[[], str]) -> Spool | None:
    """Return the spool of *ledger*; None if the ledger is disabled or has no path.

    *get_location* returns the address of a ledger on a server.
    """
    if not (ledger.enabled and ledger.path):
        return None
    server = "" if ledger.provider == "sqlite" else f"{ledger.provider} {get_location()}"
    return Spool(Path(ledger.path), server)
