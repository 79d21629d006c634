"""A small connection pool with deadlines: each statement ends in time, even if the server hangs.

Nothing depends on the session (no prepared statements, no SET), so connections through a transaction pooler work too.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import psycopg
from psycopg import errors, generators
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus, TransactionStatus

from llmcore.errors import ConfigError, LedgerUnavailable
from llmcore.support import forks
from llmcore.support.errors import raise_unchained
from llmcore.support.threads import start_thread
from llmcore_ledger_postgres.options import PostgresOptions

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

__all__ = ["TIMED_OUT", "Connections", "Session"]

T = TypeVar("T")

_PAUSE_S: Final = 0.05
"""The pause in seconds before a failed statement is sent again."""
_RECLAIM_S: Final = 0.5
"""Seconds between two searches for connections to reclaim, while a caller waits for a connection."""
_WAIT: Final = {1: select.POLLIN, 2: select.POLLOUT, 3: select.POLLIN | select.POLLOUT}
TIMED_OUT: Final = "the server did not answer in time"
_LOCKED: Final = (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)
_STANDBY: Final = (errors.ReadOnlySqlTransaction, errors.ObjectNotInPrerequisiteState)
"""The errors of a server that is a standby, so the connection is closed. A new connection may reach the
primary."""


class Session(psycopg.Connection[Any]):
    """A connection whose statements end at `deadline`, on the clock of `time.monotonic`."""

    deadline = float("inf")
    _poll: select.poll | None = None
    _result: PGresult | None = None
    """The first result of a statement, until the server has sent all results of the statement."""
    _fd = -1
    """The result of `get_descriptor`; -1 before the first call."""
    _close_fd: Callable[[], object] | None = None
    _permit: list[None]

    def lend(self, deadline: float) -> None:
        """Begin a use of this connection, which takes a permit of the pool until `take_permit`."""
        self.deadline, self._permit = deadline, [None]

    def take_permit(self) -> bool:
        """Return true for the first call after `lend`, whose caller frees the permit."""
        try:
            self._permit.pop()  # atomic: two threads may call this method at the same time
        except IndexError:
            return False
        return True

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Run a generator of psycopg until it returns, or close the connection at the deadline."""
        del interval, timeout
        try:
            wanted = next(gen)
            poll = select.poll()
            poll.register(self.pgconn.socket, _WAIT[wanted])
            while True:
                mask = self._await_socket(poll)
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

        A cursor of psycopg would take several times the CPU, mostly for conversions that texts do not need.
        """
        if not self.start(statement, args):
            self.wait(generators.send(self.pgconn))
        poll = self._poll
        if poll is None:
            poll = self._poll = select.poll()
            poll.register(self.pgconn.socket, select.POLLIN)
        answer = None
        while answer is None:
            self._await_socket(poll)
            answer = self.receive()
        return answer

    def start(self, statement: bytes, args: Sequence[bytes]) -> bool:
        """Begin to send *statement*; see `call`. Return False if a part of it still has to be sent."""
        self.pgconn.send_query_params(statement, args)
        return not self.pgconn.flush()

    def receive(self) -> bytes | None:
        """Read the bytes that have arrived.

        Return the value of the statement's result; None if bytes of the answer are missing.
        """
        pgconn = self.pgconn
        pgconn.consume_input()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is not None:
                self._result = result if self._result is None else self._result
                continue
            result, self._result = self._result, None
            if result is None or result.status != ExecStatus.TUPLES_OK:
                raise _make_error(result)
            return result.get_value(0, 0) or b""
        return None

    def get_descriptor(self) -> int:
        """Return a duplicate of the socket's descriptor for an event loop to watch. It is open until `close`.

        libpq closes its own descriptor after an error, and another connection may get the number at once.
        """
        if self._close_fd is None:
            self._fd = os.dup(self.pgconn.socket)
            self._close_fd = weakref.finalize(self, os.close, self._fd)
        return self._fd

    def close(self) -> None:
        """Close the connection."""
        super().close()
        if self._close_fd is not None:
            self._close_fd()

    def _await_socket(self, poll: select.poll) -> int:
        """Wait for events of the socket, and return them. At the deadline, close the connection and raise TimeoutError."""
        left = self.deadline - time.monotonic()
        events = poll.poll(max(0.0, left) * 1000 + 1 if left < 3600 else None)  # noqa: PLR2004 - seconds of an hour
        if not events:
            self.pgconn.finish()
            raise TimeoutError(TIMED_OUT)
        return events[0][1]


def _make_error(result: PGresult | None) -> psycopg.Error:
    return (
        errors.error_from_result(result)
        if result
        else psycopg.OperationalError("the server has sent no result")
    )


class _Borrower(Protocol):
    """Borrows connections for statements whose answers an event loop receives."""

    def end_abandoned(self) -> None:
        """End or replace the connections of statements whose event loop cannot receive the answers."""
        ...


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
        self._borrowers: weakref.WeakSet[_Borrower] = weakref.WeakSet()
        self._size = options.max_connections
        self._make_permits()
        forks.watch(self)

    def call(self, statement: bytes, args: Sequence[bytes], timeout_s: float) -> bytes:
        """Execute one statement, and return its value; see `Session.call`. A failed statement is repeated; see `run`.

        Raises:
            LedgerUnavailable: The server cannot be reached in time, or refuses the statement.
        """
        return self.run(lambda session: session.call(statement, args), timeout_s)

    def run(self, work: Callable[[Session], T], timeout_s: float) -> T:
        """Call *work* with a connection in autocommit mode. If a lock is held or the connection breaks, call *work* again.

        *work* must execute one statement or transaction that is safe to repeat.

        Raises:
            LedgerUnavailable: The server cannot be reached in time, or refuses the statement.
        """
        deadline = time.monotonic() + timeout_s
        maybe = False  # true if the server may have executed an attempt that failed here
        while True:
            session: Session | None = None
            try:
                session = self._borrow(deadline)
                value = work(session)
            except _LOCKED as error:
                message = f"a lock is held ({type(error).__name__})"
                self.end(session, error)
            except (
                psycopg.OperationalError,
                psycopg.InterfaceError,
                errors.ReadOnlySqlTransaction,
                TimeoutError,
                OSError,
            ) as error:
                maybe = maybe or session is not None
                message = _describe(error)
                self.end(session, error)
            except BaseException as error:
                self.end(session, error)
                if isinstance(error, psycopg.Error):
                    raise_unchained(LedgerUnavailable(_describe(error), unknown=maybe))
                raise
            else:
                self.give_back(session)
                return value
            if time.monotonic() + _PAUSE_S >= deadline:
                raise_unchained(LedgerUnavailable(message, busy=True, unknown=maybe))
            time.sleep(_PAUSE_S)

    def borrow_idle(self, deadline: float) -> Session | None:
        """Return an open connection that is not in use. If there is none, return None without waiting.

        The caller must then call `give_back`, or after an error `end`.
        """
        permits = self._permits
        try:
            permits.get_nowait()
        except queue.Empty:
            return None
        try:
            session = self._idle.pop()
        except IndexError:
            permits.put(None)
            return None
        session.lend(deadline)
        return session

    def _borrow(self, deadline: float) -> Session:
        session = self.borrow_idle(deadline)
        if session is not None:
            return session
        permits = self._permits
        while True:
            self.reclaim()
            left = deadline - time.monotonic()
            try:
                permits.get(timeout=max(0.0, min(left, _RECLAIM_S)))
                break
            except queue.Empty:
                pass
            if left <= _RECLAIM_S:
                raise TimeoutError("all connections are in use")
        try:
            session = self._take_idle()
            while session is None:
                self._wait_for_connection(deadline)
                session = self._take_idle()
        except BaseException:
            permits.put(None)
            raise
        session.lend(deadline)
        return session

    def watch(self, borrower: _Borrower) -> None:
        """Call `borrower.end_abandoned` when connections are needed."""
        self._borrowers.add(borrower)

    def reclaim(self) -> None:
        """Make room for connections in place of those that no borrower can give back."""
        for borrower in list(self._borrowers):
            borrower.end_abandoned()

    def give_back(self, session: Session) -> None:
        """Return *session* to the pool after a statement that succeeded."""
        if session.take_permit():
            self._idle.append(session)
            self._permits.put(None)
        else:
            session.close()

    def replace(self, session: Session) -> None:
        """Let a new connection take the place of *session* in the pool. The borrower of *session* closes *session*."""
        if session.take_permit():
            self._permits.put(None)

    def end(self, session: Session | None, error: BaseException) -> None:
        """Return *session* to the pool after *error*, or close it.

        The session is closed if the connection is broken, or the server is a standby.
        """
        if session is None:
            return
        is_idle = session.pgconn.transaction_status == TransactionStatus.IDLE
        if isinstance(error, psycopg.Error) and is_idle and not isinstance(error, _STANDBY):
            self.give_back(session)  # the statement failed, but the connection works
            return
        session.close()
        if isinstance(error, psycopg.Error):
            self.close()  # the server has probably restarted: the other connections are broken too
        self.replace(session)

    def _take_idle(self) -> Session | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _wait_for_connection(self, deadline: float) -> None:
        """Wait for a new connection.

        A thread opens the connection, and continues after the caller's deadline. So a later call finds an
        open connection, even if every caller's deadline is short.
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
        except Exception as error:  # noqa: BLE001 - the callers that wait raise it
            opening.set_exception(error)
        else:
            self._idle.append(session)
            opening.set_result(None)

    def close(self) -> None:
        """Close the idle connections."""
        _close_all(self._idle)

    def after_fork(self) -> None:
        """Leave the connections to the parent; see `forks.ForkAware`."""
        for session in self._idle:
            forks.leave_to_parent(session)
        self._idle.clear()
        self._opening = None
        self._make_permits()

    def _make_permits(self) -> None:
        self._permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self._size):
            self._permits.put(None)


def _close_all(sessions: list[Session]) -> None:
    while sessions:
        with contextlib.suppress(IndexError):  # another thread has taken the last one
            sessions.pop().close()


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


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
