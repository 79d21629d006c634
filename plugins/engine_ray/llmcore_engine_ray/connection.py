"""The connection of this process to Ray. A process can have only one connection, so all engines share it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import ray
from ray.exceptions import LocalRayletDiedError, RaySystemError, RpcError

from llmcore.errors import EngineError
from llmcore.support import forks
from llmcore.support.errors import raise_unchained
from llmcore_engine_ray.options import RayOptions

__all__ = ["Connection", "Task", "release", "use"]

_PAUSE_S: Final = 0.5
"""The pause in seconds before the next attempt to reach the cluster."""
_QUIET: Final[dict[str, Any]] = {"log_to_driver": False, "configure_logging": False, "namespace": "llmcore"}

_LOST: Final = (OSError, LocalRayletDiedError, RaySystemError, RpcError)
"""Exceptions after which the connection cannot be used. `OSError` includes Python's `ConnectionError`."""

T = TypeVar("T")


class Task(Protocol):
    """A task of a connection."""

    def lose(self, reason: str) -> None:
        """Fail because of *reason*, unless the task has ended."""
        ...


class Connection:
    """A connection to the cluster *address*. *is_ours* is False if the application made the connection."""

    def __init__(self, address: str | None, *, is_ours: bool) -> None:
        self.address = address
        self.is_ours = is_ours
        self.is_lost = False
        """True if the cluster has ended. Ray may still report an open connection, so `_connect` reads this attribute too."""
        self.tasks: set[Task] = set()

    @contextlib.contextmanager
    def hold(self) -> Iterator[bool]:
        """Keep other threads from changing the connection during the `with` block.

        Yield whether the connection is open. If it is not open, do not call Ray: a call would open a new connection.
        """
        with _state.lock:
            yield self is _state.current and ray.is_initialized()

    def add(self, task: Task) -> None:
        """Make *task* fail when the connection ends."""
        with _state.lock:
            self.tasks.add(task)
            if self is not _state.current:
                self._lose_tasks()

    def close(self) -> None:
        """End the connection if an engine made it, even if the connection is broken. The tasks of the connection are lost."""
        _state.current = None
        if self.is_ours:
            with contextlib.suppress(Exception):  # the cluster may not answer
                ray.shutdown()
        self._lose_tasks()

    def _lose_tasks(self) -> None:
        for task in list(self.tasks):
            task.lose("the connection to the cluster ended")


class _State:
    """The state that the engines of this process share."""

    def __init__(self) -> None:
        self.lock = forks.lock()
        self.current: Connection | None = None
        self.engines: set[int] = set()
        """The ids of the engines that use the connection."""
        self.is_forked = False
        forks.watch(self)

    def after_fork(self) -> None:
        """Leave the connection to the parent; see `forks.ForkAware`."""
        forks.leave_to_parent(self.current)
        self.current, self.is_forked = None, True
        self.engines.clear()


_state: Final = _State()


def use(engine: object, options: RayOptions, work: Callable[[Connection], T]) -> T:
    """Return the result of `work(connection)`. If the cluster does not answer, connect again for up to `connect_timeout`.

    Raises:
        EngineError: The cluster cannot be used.
    """
    deadline = time.monotonic() + float(options.connect_timeout)
    while True:
        connection = None
        try:
            with _state.lock:
                connection = _state.current = _connect(options)
                _state.engines.add(id(engine))
            return work(connection)
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 - Ray raises exceptions of several libraries
            if connection is not None:
                # Other engines may use the connection, so replace it only if the connection itself failed. When a
                # connection by `ray://` has ended, Ray raises a plain Exception, so also check `is_initialized`.
                connection.is_lost |= isinstance(error, _LOST) or not ray.is_initialized()
                if not connection.is_lost:
                    raise_unchained(EngineError(f"Ray refused the work: {type(error).__name__}: {error}"))
            if time.monotonic() + _PAUSE_S >= deadline:
                raise_unchained(_make_error(options, f"{type(error).__name__}: {error}"))
        time.sleep(_PAUSE_S)


def release(engine: object) -> None:
    """Stop using the connection for *engine*.

    If no other engine uses the connection, close it; see `Connection.close`.
    """
    with _state.lock:
        _state.engines.discard(id(engine))
        if not _state.engines and _state.current is not None:
            _state.current.close()


def _connect(options: RayOptions) -> Connection:
    """Return the connection. If there is none, or if it was lost, make a new one."""
    if _state.is_forked:
        raise _make_error(options, "a forked process cannot use the connection of its parent")
    current = _state.current
    if current is not None and ray.is_initialized() and not current.is_lost:
        if current.is_ours and current.address != options.address:
            raise _make_error(options, f"this process is connected to {current.address or 'its own cluster'}")
        return current
    if current is not None:
        current.close()
    if ray.is_initialized():
        return Connection(None, is_ours=False)
    with _hide_warnings(), _keep_signal_handler():
        if options.address is None:
            # Turn off Ray's usage statistics, unless the user's environment has turned them on.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init("local", num_cpus=options.workers or None, include_dashboard=False, **_QUIET)
        else:
            _check_port(options.address, float(options.connect_timeout))
            ray.init(options.address, **_QUIET)
    return Connection(options.address, is_ours=True)


@contextlib.contextmanager
def _hide_warnings() -> Iterator[None]:
    """Hide the warnings about threads and tokens that Ray logs at each connection."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _keep_signal_handler() -> Iterator[None]:
    """At the end of the block, restore the application's handler of SIGTERM, which Ray replaces in the main thread."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_port(address: str, timeout_s: float) -> None:
    """Raise `OSError` if no server listens at *address*. Without this check, Ray would wait for minutes."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if parts.port is not None and parts.hostname:
        socket.create_connection((parts.hostname, parts.port), timeout_s).close()


def _make_error(options: RayOptions, reason: str) -> EngineError:
    return EngineError(
        f"the Ray cluster {options.address or 'of this machine'} cannot be used: {reason}",
        where="[engines.ray] address",
        expected="a running cluster: `ray start --head`, and on other machines `ray start --address HOST:6379`",
    )
