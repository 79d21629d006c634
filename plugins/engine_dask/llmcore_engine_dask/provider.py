"""The engine `dask` runs the chunks of a batch as tasks of a Dask cluster, on this machine or on several."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import dask
from distributed import LocalCluster
from distributed.scheduler import KilledWorker

from llmcore.errors import EngineError
from llmcore.support import forks
from llmcore.support.errors import raise_unchained
from llmcore_engine_dask.connection import connect, is_outage
from llmcore_engine_dask.options import DaskOptions
from llmcore_engine_dask.worker import call

__all__ = ["DaskEngine"]

_log: Final = logging.getLogger("llmcore.engine_dask")
_REFUSED: Final = (TypeError, ValueError)
"""Exceptions of a client that is connected, for work that it cannot send, such as a function that cannot be pickled."""
_PAUSE_S: Final = 0.5
"""The pause in seconds before the next attempt to reach the scheduler."""


class DaskEngine:
    """See `llmcore.contracts.EngineProvider`. The first call connects to the scheduler, or starts a cluster."""

    def __init__(self, options: DaskOptions) -> None:
        self._options = options
        self._client: Any = None
        self._cluster: Any = None
        self._is_idle = False
        """True if the cluster had no workers at the last count."""
        self._lock = forks.lock()
        forks.watch(self)

    def count_slots(self) -> int:
        """See `EngineProvider.count_slots`. A cluster without workers counts as one slot, because workers may still start."""
        threads: dict[str, int] = self._use_client(lambda client: client.nthreads())
        was_idle, self._is_idle = self._is_idle, not threads
        if self._is_idle and not was_idle:
            address = self._options.address or "of this machine"
            _log.warning("the Dask cluster %s has no workers; the batch waits for a worker", address)
        return max(1, sum(threads.values()))

    def submit(self, function: Callable[[bytes], bytes], data: bytes) -> Future[bytes]:
        """See `EngineProvider.submit`. If the scheduler restarts, wait for it, for up to `connect_timeout`."""
        name = f"llmcore-{os.urandom(12).hex()}"
        task = self._use_client(lambda client: client.submit(call, function, data, key=name, pure=False))
        future = _TaskFuture(task)
        task.add_done_callback(future.finish)
        return future

    def close(self) -> None:
        """See `EngineProvider.close`."""
        with self._lock:
            client, self._client = self._client, None
            cluster, self._cluster = self._cluster, None
        for each in (client, cluster):
            if each is not None:
                with contextlib.suppress(Exception):  # the scheduler may have ended
                    each.close()

    def after_fork(self) -> None:
        """Leave the connection to the parent; see `forks.ForkAware`."""
        forks.leave_to_parent(self._client)
        forks.leave_to_parent(self._cluster)
        self._client = self._cluster = None

    def _use_client(self, work: Callable[[Any], Any]) -> Any:
        """Return the result of `work(client)`.

        If the scheduler cannot be reached, connect a new client and try again, for up to `connect_timeout`.
        """
        deadline = time.monotonic() + float(self._options.connect_timeout)
        while True:
            client = None
            try:
                with self._lock:
                    if self._client is None:
                        self._client = self._make_client()
                    client = self._client
                return work(client)
            except Exception as error:  # noqa: BLE001 - Dask raises exceptions of several libraries
                if client is not None and client.status == "running" and isinstance(error, _REFUSED):
                    raise_unchained(EngineError(f"Dask refused the work: {type(error).__name__}: {error}"))
                is_lasting = client is None and not is_outage(error)
                if is_lasting or time.monotonic() + _PAUSE_S >= deadline:
                    raise_unchained(self._make_error(error))
            self._drop(client)
            time.sleep(_PAUSE_S)

    def _drop(self, client: Any) -> None:
        """Close a client that failed. The tasks of the client are lost; the host submits their chunks again."""
        with self._lock:
            self._client = None if self._client is client else self._client
        if client is not None:
            with contextlib.suppress(Exception):  # the scheduler may not answer
                client.close(timeout=1)

    def _make_client(self) -> Any:
        options = self._options
        target: Any = options.address
        if target is None:
            if self._cluster is None:
                # Dask must not repeat a chunk whose worker died. The host submits the chunk again, for a few attempts.
                with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
                    self._cluster = LocalCluster(  # type: ignore[no-untyped-call]
                        n_workers=options.workers or os.cpu_count() or 1,
                        threads_per_worker=options.threads,
                        processes=True,
                        dashboard_address="127.0.0.1:0",  # the default port may be in use by the user's own cluster
                        silence_logs=logging.ERROR,  # the end of a worker is not a fault of the application
                    )
            target = self._cluster
        return connect(target, float(options.connect_timeout))

    def _make_error(self, error: Exception) -> EngineError:
        place = self._options.address or "of this machine"
        return EngineError(
            f"the Dask cluster {place} cannot be used: {type(error).__name__}: {error}",
            where="[engines.dask] address",
            expected="a running scheduler: `dask scheduler`, and workers: `dask worker ADDRESS`",
        )


class _TaskFuture(Future[bytes]):
    """The future of a task. `cancel` returns False, because a worker may already run the task."""

    def __init__(self, task: Any) -> None:
        super().__init__()
        self._task = task
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Ask the scheduler to withdraw the task. Return False, because a worker may already run it."""
        with contextlib.suppress(Exception):  # the scheduler may not answer
            self._task.cancel()
        return False

    def finish(self, task: Any) -> None:
        """Set the result of *task* as the result of this future."""
        result = _read(task)
        if isinstance(result, EngineError):
            self.set_exception(result)
        else:
            self.set_result(result)


def _read(done: Any) -> bytes | EngineError:
    """Return the result of a task that has ended."""
    if done.status != "finished":
        error = done.exception() if done.status == "error" else None
        if error is None or isinstance(error, KilledWorker):
            reason = "a worker ended" if error is not None else f"the task is {done.status}"
            return EngineError(f"{reason} before the work was done", lost=True)
        return EngineError(
            f"a worker failed: {type(error).__name__}: {error}",
            expected="the same versions of llmcore-host, llmcore-engine-dask and the plugins on each worker",
        )
    try:
        value, error_text = done.result()
    except Exception as error:  # noqa: BLE001 - the worker may end before its result is read
        return EngineError(f"the result is lost: {type(error).__name__}: {error}", lost=True)
    return EngineError(f"a worker failed: {error_text}") if error_text else bytes(value)
