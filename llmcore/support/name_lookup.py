"""Look up the addresses of a host within a time limit, for blocking connections. `socket.getaddrinfo` has no timeout."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from llmcore import forks
from llmcore.threads import start_thread

__all__ = ["look_up"]

_KEPT_S: Final = 5.0
"""Seconds for which a result is used. After the timeout of a slow look-up, the caller's next attempt finds the result."""

_lock = forks.lock()
_lookups: dict[tuple[str, int], tuple[Future[list[Any]], list[float]]] = {}
"""Host and port -> the look-up, and a list that is empty until the look-up ends and then has the time of the end."""


def look_up(host: str, port: int, timeout_s: float) -> list[Any]:
    """Return the addresses of *host* for TCP, as `socket.getaddrinfo` does.

    A look-up that takes longer than *timeout_s* continues in its thread, and the next call waits for its result. A numeric
    address is returned at once. If the system cannot start a thread, there is no time limit.

    Raises:
        OSError: The name is unknown, or its look-up takes too long.
    """
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    with _lock:
        found, ended = _lookups.get((host, port), (None, []))
        if found is None or (ended and time.monotonic() - ended[0] > _KEPT_S):
            found = Future()
            entry = _lookups[host, port] = found, []
            thread = threading.Thread(
                target=_resolve, args=(host, port, *entry), name="llmcore-lookup", daemon=True
            )
            if not start_thread(thread):
                _resolve(host, port, *entry)
    try:
        return found.result(timeout_s)
    except TimeoutError:
        pass
    raise socket.gaierror(socket.EAI_AGAIN, f"the look-up of the name took longer than {timeout_s:g} s")


def _resolve(host: str, port: int, found: Future[list[Any]], ended: list[float]) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        ended.append(0.0)  # a time in the past, so that the next call looks the name up again
        found.set_exception(error)
    else:
        ended.append(time.monotonic())
        found.set_result(addresses)


forks.call_in_child(_lookups.clear)
