"""Connect to the scheduler of a Dask cluster within a time limit, and tell lasting failures from outages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

from distributed import Client
from distributed.comm.core import FatalCommClosedError

from llmcore.support.threads import start_thread

__all__ = ["connect", "is_outage"]

_LASTING: Final = (FatalCommClosedError, FileNotFoundError, IsADirectoryError, PermissionError)
"""Subclasses of OSError that another attempt cannot heal: a refused certificate, and files of certificates that cannot be read."""
_END_S: Final = 2.0
"""Seconds that a client has to report that its time is over."""


def connect(target: Any, timeout_s: float) -> Any:
    """Return a client of *target*, the address of a scheduler or a cluster.

    `Client` waits without a limit for a server that accepts the connection and does not answer. So it is created in a
    daemon thread, which is abandoned in that case.

    Raises:
        TimeoutError: The server does not answer.
        Exception: Dask cannot connect.
    """
    made: Future[Any] = Future()

    def make() -> None:
        try:
            made.set_result(_Client(target, timeout=timeout_s, set_as_default=False, name="llmcore"))  # type: ignore[no-untyped-call]
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            made.set_exception(error)

    if not start_thread(threading.Thread(target=make, name="llmcore-dask-connect", daemon=True)):
        make()
    try:
        return made.result(timeout_s + _END_S)
    except TimeoutError:
        if made.done():
            raise
    raise TimeoutError("the server accepts the connection, but does not answer like a scheduler")


def is_outage(error: BaseException) -> bool:
    """Return whether *error*, raised while connecting, may end by itself, for example because the scheduler restarts."""
    return any(isinstance(each, OSError) and not isinstance(each, _LASTING) for each in _list_causes(error))


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _Client(Client):
    def start(self, **kwargs: Any) -> None:
        """See `Client.start`. Mark a client that fails as closed: its finalizer would otherwise wait several seconds."""
        try:
            super().start(**kwargs)  # type: ignore[no-untyped-call]
        except BaseException:
            self.status = "closed"
            raise
