"""Answers from the cache, counted in memory and noted in bulk: a hit pays for no database."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.builtin.forks import watch

if TYPE_CHECKING:
    import apsw

__all__ = ["Hits", "Whose"]

_PAUSE_S: Final = 1.0
"""How long hits are gathered before they are noted."""

_json: Final = msgspec.json.Encoder()


class Whose(msgspec.Struct, frozen=True, gc=False):
    """Whose answer came from the cache."""

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
    """Gathers hits, appends them as lines to a file beside the ledger, and gives the file to whoever opens the ledger.

    A process that is killed may take the hits of its last second with it: they cost nothing.
    """

    def __init__(self, ledger: Path | None, clock: Callable[[], float] = time.time) -> None:
        """None for *ledger* gathers nothing."""
        self._path = None if ledger is None else ledger.with_name(ledger.name + ".hits")
        self._clock = clock
        self._lock = threading.Lock()
        self._gathered: dict[Whose, list[Any]] = {}
        self._timer: threading.Timer | None = None
        watch(self)

    def hit(self, whose: Whose, saved: Decimal | None) -> None:
        """Count one answer from the cache that saved so many USD."""
        if self._path is None:
            return
        with self._lock:
            found = self._gathered.get(whose)
            if found is None:
                found = self._gathered[whose] = [0, Decimal(0)]
            found[0] += 1
            if saved:
                found[1] += saved
            if self._timer is None:
                self._timer = threading.Timer(_PAUSE_S, _noting, (weakref.ref(self),))
                self._timer.daemon, self._timer.name = True, "llmcore-hits"
                with contextlib.suppress(RuntimeError):  # no thread to spare: noted at the end
                    self._timer.start()

    def note(self) -> None:
        """Append what was gathered to the file; what cannot be written is dropped."""
        with self._lock:
            gathered, self._gathered = self._gathered, {}
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if gathered and self._path is not None:
            at = self._clock()
            lines = [
                _json.encode([at, count, *msgspec.structs.astuple(whose), str(saved)]) + b"\n"
                for whose, (count, saved) in gathered.items()
            ]
            with contextlib.suppress(OSError):
                _append(self._path, b"".join(lines))

    def absorb(self, db: apsw.Connection) -> None:
        """Take the files over into the ledger, each once, however often this is interrupted."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            _set_aside(self._path)
        for path in self._path.parent.glob(self._path.name + ".*"):
            if db.execute("SELECT 1 FROM absorbed WHERE name = ?", (path.name,)).get is None:
                for line in path.read_bytes().splitlines():
                    with contextlib.suppress(
                        msgspec.MsgspecError, ValueError
                    ):  # a line that a full disk cut short
                        _insert(db, line)
                db.execute("INSERT INTO absorbed VALUES (?)", (path.name,))
            else:  # its transaction is through
                path.unlink(missing_ok=True)
                db.execute("DELETE FROM absorbed WHERE name = ?", (path.name,))

    def fork_locks(self) -> tuple[threading.Lock, ...]:
        """See `ForkAware`."""
        return (self._lock,)

    def after_fork(self, *, at_rest: bool) -> None:  # noqa: ARG002 - what was gathered is the parent's in either case
        """See `ForkAware`."""
        self._lock, self._gathered, self._timer = threading.Lock(), {}, None


def _noting(hits: weakref.ref[Hits]) -> None:
    found = hits()
    if found is not None:
        found.note()


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
            with _alone(file):
                if _is_at(file, path):  # not set aside between opening and locking
                    os.write(file, data)
                    return
        finally:
            os.close(file)


def _set_aside(path: Path) -> None:
    """Give the file a name of its own, under which nobody appends any more."""
    try:
        file = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return
    try:
        with _alone(file):
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
def _alone(file: int) -> Any:
    try:
        import fcntl
    except ImportError:  # Windows neither renames nor deletes an open file
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    yield  # closing the file ends the lock
