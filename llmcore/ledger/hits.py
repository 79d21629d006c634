"""Cache hits, counted in memory and written in bulk: a hit never waits for the database."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore import forks
from llmcore.ledger import exits
from llmcore.threads import start_thread

if TYPE_CHECKING:
    import apsw

__all__ = ["HitKey", "Hits"]

_PAUSE_S: Final = 1.0
"""The interval at which counted hits are written."""

_json: Final = msgspec.json.Encoder()


class HitKey(msgspec.Struct, frozen=True, gc=False):
    """The fields by which hits are counted."""

    kind: str
    provider: str
    model: str
    user: str | None
    tags: tuple[str, ...]


_INSERT: Final = """
    INSERT INTO calls (id, at, call, attempt, state, count, kind, provider, model, cost, saved, user, tags)
    VALUES ((SELECT max(?, ifnull(max(id) + 1, 0)) FROM calls), ?, '', 0, 'hit', ?, ?, ?, ?, 0, ?, ?, ?)
"""


class Hits:
    """Counts hits and appends them as lines to a file next to the ledger.

    The next process that opens the ledger absorbs the file. Hits are written once a second, and when Python
    ends. A killed process loses the hits of its last second.
    """

    def __init__(self, ledger: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Use the file next to *ledger*; if *ledger* is None, hits are not counted."""
        self._path = None if ledger is None else ledger.with_name(ledger.name + ".hits")
        self._clock = clock
        self._lock = forks.lock()
        self._counts: dict[HitKey, list[Any]] = {}
        self._timer: threading.Timer | None = None
        forks.watch(self)
        exits.watch(self)

    def record_hit(self, key: HitKey, saved: Decimal | None) -> None:
        """Count one hit; *saved* is in USD."""
        if self._path is None:
            return
        with self._lock:
            entry = self._counts.get(key)
            if entry is None:
                entry = self._counts[key] = [0, Decimal(0)]
            entry[0] += 1
            if saved:
                entry[1] += saved
            if self._timer is not None:
                return
            # keeps this object alive after its Core was dropped
            timer = threading.Timer(_PAUSE_S, self.write)
            timer.daemon, timer.name = True, "llmcore-hits"
            if start_thread(timer):
                self._timer = timer
                return
        self.write()  # without a thread, this may be the last chance to write

    def write(self) -> None:
        """Append the counted hits to the file. Hits that cannot be written are dropped."""
        with self._lock:
            counts, self._counts = self._counts, {}
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if counts and self._path is not None:
            at = self._clock()
            lines = [
                _json.encode([at, count, *msgspec.structs.astuple(key), str(saved)]) + b"\n"
                for key, (count, saved) in counts.items()
            ]
            with contextlib.suppress(OSError):
                _append(self._path, b"".join(lines))

    def at_exit(self, timeout_s: float) -> None:
        """Write the counted hits; see `exits.AtExit`."""
        del timeout_s  # other processes hold the lock of the file only for microseconds
        self.write()

    def absorb(self, db: apsw.Connection) -> None:
        """Insert the hits of the files into the ledger, each file exactly once, even after an interruption."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            _set_aside(self._path)
        for path in self._path.parent.glob(self._path.name + ".*"):
            if db.execute("SELECT 1 FROM absorbed WHERE name = ?", (path.name,)).get is None:
                for line in path.read_bytes().splitlines():
                    with contextlib.suppress(
                        msgspec.MsgspecError, ValueError
                    ):  # the line is incomplete, because the disk was full
                        _insert(db, line)
                db.execute("INSERT INTO absorbed VALUES (?)", (path.name,))
            else:  # the file's transaction was committed
                path.unlink(missing_ok=True)
                db.execute("DELETE FROM absorbed WHERE name = ?", (path.name,))

    def after_fork(self) -> None:
        """Forget the counts, which the parent writes; see `forks.ForkAware`."""
        self._counts, self._timer = {}, None


def _insert(db: apsw.Connection, line: bytes) -> None:
    at, count, kind, provider, model, user, tags, saved = msgspec.json.decode(line)
    nanos = int(Decimal(saved).scaleb(9))
    db.execute(
        _INSERT,
        (
            int(at * 1e6),
            at,
            count,
            kind,
            provider,
            model,
            nanos,
            user,
            _json.encode(tags).decode() if tags else None,
        ),
    )


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
    """Rename the file to a unique name, so that other processes no longer append to it."""
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
    except ImportError:  # Windows neither renames nor deletes an open file
        yield
        return
    with forks.delay():  # a child would inherit the open file and hold its lock
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
