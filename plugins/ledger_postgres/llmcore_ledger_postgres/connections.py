"""A small pool of connections with deadlines: each statement ends in time, even if the server hangs.

Nothing depends on the session (no prepared statements, no SET), so the client may connect through a transaction pooler.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors, generators
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus

from llmcore.errors import ConfigError, LedgerUnavailable
from llmcore.support import forks
from llmcore.support.errors import raise_unchained
from llmcore.support.threads import start_thread
from llmcore_ledger_postgres.options import PostgresOptions

__all__ = ["Connections", "Session"]

T = TypeVar("T")

_PAUSE_S: Final = 0.05
"""The pause before another attempt to connect."""
_WAIT: Final = {1: select.POLLIN, 2: select.POLLOUT, 3: select.POLLIN | select.POLLOUT}
_LOCKED: Final = (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)


class Session(psycopg.Connection[Any]):
    """A connection whose statements end at `deadline`, on the clock of `time.monotonic`."""

    deadline = float("inf")

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Run a generator of psycopg until it returns, or close the connection at the deadline."""
        del interval, timeout
        try:
            wanted = next(gen)
            poll = select.poll()
            poll.register(self.pgconn.socket, _WAIT[wanted])
            while True:
                left = self.deadline - time.monotonic()
                events = poll.poll(max(0.0, left) * 1000 + 1 if left < 3600 else None)  # noqa: PLR2004 - a deadline beyond one hour counts as none
                if not events:
                    self.pgconn.finish()
                    raise TimeoutError("the server did not answer in time")
                mask = events[0][1]
                ready = 1 * bool(mask & ~select.POLLOUT) | 2 * bool(mask & select.POLLOUT)
                following = gen.send(ready & wanted or wanted)
                if following != wanted:
                    wanted = following
                    poll.modify(self.pgconn.socket, _WAIT[wanted])
        except StopIteration as stop:
            value: T = stop.value
            return value

    def call(self, statement: bytes, args: Sequence[bytes]) -> bytes:
        """Execute *statement*, whose parameters are `$1`, `$2`, and return the one value of its result as text.

        A cursor of psycopg takes twice the CPU, most of it for conversions that texts do not need.
        """
        self.pgconn.send_query_params(statement, args)
        results = self.wait(generators.execute(self.pgconn))
        for result in results:
            if result.status != ExecStatus.TUPLES_OK:
                raise errors.error_from_result(result)
        return results[0].get_value(0, 0) or b""


class Connections:
    """The connections of one process. Threads share them."""

    def __init__(self, options: PostgresOptions) -> None:
        self._timeout_s = float(options.connect_timeout)
        self._conninfo = _make_conninfo(options)
        parts = conninfo_to_dict(self._conninfo)
        host, port = parts.get("host", "localhost"), parts.get("port", 5432)
        self.location = f"postgresql://{host}:{port}/{parts.get('dbname', '')}"
        self._idle: list[Session] = []
        weakref.finalize(self, _close_all, self._idle)  # an application may drop its Core without closing it
        self._opening: Future[None] | None = None
        self._lock = forks.lock()
        self._free = threading.BoundedSemaphore(options.max_connections)
        self._size = options.max_connections
        forks.watch(self)

    def run(self, work: Callable[[Session], T], timeout_s: float) -> T:
        """Call *work* with a connection, in autocommit mode. If the connection breaks, call *work* again with another one.

        *work* must be one statement or transaction that may be repeated.

        Raises:
            LedgerUnavailable: The server cannot be reached in time, or refuses the statement.
        """
        deadline = time.monotonic() + timeout_s
        maybe = False  # an attempt may have been executed although it failed
        while True:
            sent = False
            try:
                with self._borrow(deadline) as session:
                    sent = True
                    return work(session)
            except _LOCKED as error:
                message = f"a lock is held ({type(error).__name__})"
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, OSError) as error:
                maybe = maybe or sent
                message = f"{type(error).__name__}: {' '.join(str(error).split())}"
            except psycopg.Error as error:
                message = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise_unchained(LedgerUnavailable(message, unknown=maybe))
            if time.monotonic() + _PAUSE_S >= deadline:
                raise_unchained(LedgerUnavailable(message, busy=True, unknown=maybe))
            time.sleep(_PAUSE_S)

    @contextlib.contextmanager
    def _borrow(self, deadline: float) -> Iterator[Session]:
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError("all connections are in use")
        free = self._free
        try:
            session = self._take_idle()
            while session is None:
                self._wait_for_connection(deadline)
                session = self._take_idle()
            session.deadline = deadline
            try:
                yield session
            except psycopg.Error:
                if (
                    session.pgconn.transaction_status == 0
                ):  # idle: the statement failed, but the connection works
                    self._give_back(session)
                else:
                    session.close()
                    self.close()  # the server has probably restarted: the other connections are broken too
                raise
            except BaseException:
                session.close()
                raise
            self._give_back(session)
        finally:
            free.release()

    def _take_idle(self) -> Session | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _wait_for_connection(self, deadline: float) -> None:
        """Wait for a new connection.

        A thread opens the connection, because callers with short deadlines could never do so.
        """
        with self._lock:
            opening = self._opening
            is_new = opening is None or opening.done()
            if opening is None or is_new:
                opening = self._opening = Future()
        thread = threading.Thread(
            target=self._open, args=(opening,), name="llmcore-ledger-connect", daemon=True
        )
        if is_new and not start_thread(thread):
            self._open(opening)
        opening.result(max(0.0, deadline - time.monotonic()))

    def _open(self, opening: Future[None]) -> None:
        try:
            session = Session.connect(
                self._conninfo,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=max(2, round(self._timeout_s)),  # libpq: less than 2 s counts as 2
            )
        except (psycopg.Error, OSError) as error:
            opening.set_exception(error)
        else:
            self._give_back(session)
            opening.set_result(None)

    def _give_back(self, session: Session) -> None:
        if session.closed:
            return
        with self._lock:
            self._idle.append(session)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle = self._idle.copy()
            self._idle.clear()
        _close_all(idle)

    def after_fork(self) -> None:
        """Leave the connections to the parent; see `forks.ForkAware`."""
        for session in self._idle:
            forks.leave_to_parent(session)
        self._idle.clear()
        self._opening = None
        self._free = threading.BoundedSemaphore(self._size)


def _close_all(sessions: list[Session]) -> None:
    for session in sessions:
        session.close()


def _make_conninfo(options: PostgresOptions) -> str:
    try:
        parts = conninfo_to_dict(options.url.reveal())
    except psycopg.Error:
        parts = None
    if parts is None:
        raise ConfigError(
            "`url` in [ledger.postgres] must be the address of a database",
            where="[ledger.postgres] url",
            expected="postgresql://user:password@host:5432/database",
        )
    defaults = {"application_name": "llmcore", "keepalives_idle": "30", "tcp_user_timeout": "10000"}
    return make_conninfo(**{**defaults, **{name: str(value) for name, value in parts.items()}})
