"""Look up the addresses of a host within a time limit, for blocking connections. `socket.getaddrinfo` has no timeout."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from llmcore import forks
from llmcore.threads import start_thread

__all__ = ["LookUpTimeout", "connect", "look_up"]

_KEPT_S: Final = 5.0
"""Seconds for which the addresses of a look-up are used again.

If a slow look-up exceeds the timeout of a call, the next attempt of the caller finds these addresses.
"""

_lock = forks.lock()
_lookups: dict[tuple[str, int], tuple[Future[list[Any]], list[float]]] = {}
"""Host and port -> the look-up, and a list to which the end of the look-up appends its time."""


class LookUpTimeout(socket.gaierror, TimeoutError):
    """The look-up of a name took too long."""


def look_up(host: str, port: int, timeout_s: float) -> list[Any]:
    """Return the addresses of *host* for TCP, as `socket.getaddrinfo` does.

    A look-up that takes longer than *timeout_s* continues in its thread, and the next call waits for its result. A
    numeric address is not looked up. If no further thread can be started, this call looks the name up itself, without
    a time limit. Other calls then wait for the result as if a thread looked it up.

    Raises:
        LookUpTimeout: The look-up takes longer than *timeout_s*.
        OSError: The name is unknown.
    """
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    is_new = False
    with _lock:
        found, ended = _lookups.get((host, port), (None, []))
        if found is None or (ended and time.monotonic() - ended[0] > _KEPT_S):
            found, ended = _lookups[host, port] = Future(), []
            is_new = True
    if is_new:
        work = threading.Thread(
            target=_resolve, args=(host, port, found, ended), name="llmcore-lookup", daemon=True
        )
        if not start_thread(work):
            _resolve(host, port, found, ended)  # without the lock, so that other calls keep their time limit
    try:
        return found.result(timeout_s)
    except TimeoutError:
        pass
    raise LookUpTimeout(socket.EAI_AGAIN, f"the look-up of the name took longer than {timeout_s:g} s")


def connect(host: str, port: int, get_timeout: Callable[[], float | None]) -> socket.socket:
    """Return a connection to the first address of *host* that accepts it.

    Args:
        host: A name, or an address.
        port: The port.
        get_timeout: Returns the seconds that the next step may take: the look-up, or the connection to one address.
            None means no limit.

    Raises:
        TimeoutError: The look-up, or the connection to the last address, took too long.
        OSError: The name is unknown, or no address accepts the connection.
    """
    fault: OSError = ConnectionRefusedError(f"{host} has no address")
    timeout_s = get_timeout()
    for family, kind, protocol, _, address in look_up(
        host, port, threading.TIMEOUT_MAX if timeout_s is None else timeout_s
    ):
        opened = None
        try:
            opened = socket.socket(family, kind, protocol)
            opened.settimeout(get_timeout())
            opened.connect(address)
        except BaseException as error:
            if opened is not None:
                opened.close()
            if not isinstance(error, OSError):
                raise
            fault = error
        else:
            return opened
    raise fault


def _resolve(host: str, port: int, found: Future[list[Any]], ended: list[float]) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        ended.append(0.0)  # the next call looks the name up again
        found.set_exception(error)
    except (
        BaseException
    ) as error:  # such as Ctrl-C in the thread of a call; the others must not wait for ever
        ended.append(0.0)
        found.set_exception(
            socket.gaierror(socket.EAI_AGAIN, f"the look-up ended with {type(error).__name__}")
        )
        raise
    else:
        ended.append(time.monotonic())
        found.set_result(addresses)


forks.call_in_child(_lookups.clear)
