"""Bound the look-up of host names in blocking clients of httpx and httpx2, which do not limit its time."""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Any, Final, TypeVar

from llmcore.support.name_lookup import LookUpTimeout, look_up

__all__ = ["bound_look_ups"]

T = TypeVar("T")

_FAIR_S: Final = 2.0
"""The minimum seconds for the connection to one of several addresses, or the time that is left if it is shorter."""


def bound_look_ups(transport: T) -> T:
    """Make *transport*, an `HTTPTransport`, look host names up within the timeout "connect". Return *transport*.

    The timeout then holds for the look-up and all addresses of the host together. `HTTPTransport` has no parameter for a
    network backend, so this function replaces the backend of its connection pool, which httpcore calls to connect.
    """
    pool: Any = getattr(transport, "_pool", None)
    inner = getattr(pool, "_network_backend", None)
    if inner is not None:  # another version of httpx may have other names: then leave it unchanged
        httpcore = sys.modules[type(pool).__module__.partition(".")[0]]
        pool._network_backend = _NetworkBackend(inner, httpcore)  # noqa: SLF001 - see above
    return transport


class _NetworkBackend:
    """A `httpcore.NetworkBackend` that connects through *inner* to the addresses that `look_up` finds."""

    def __init__(self, inner: Any, httpcore: Any) -> None:
        self._inner = inner
        self._httpcore = httpcore

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: Any = None,
        socket_options: Any = None,
    ) -> Any:
        """See `httpcore.NetworkBackend.connect_tcp`."""
        seconds = threading.TIMEOUT_MAX if timeout is None else timeout
        ends = time.monotonic() + seconds
        try:
            addresses = look_up(host, port, seconds)
        except LookUpTimeout as error:
            raise self._httpcore.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            raise self._httpcore.ConnectError(str(error)) from error
        fault: Exception = self._httpcore.ConnectError(f"{host} has no address")
        for tried, (*_, address) in enumerate(addresses):
            left = max(ends - time.monotonic(), 0.001)  # for a socket, 0 would mean "do not block"
            share = max(left / (len(addresses) - tried), min(left, _FAIR_S))
            try:
                return self._inner.connect_tcp(
                    _format_address(address),
                    port,
                    None if timeout is None else share,
                    local_address,
                    socket_options,
                )
            except (self._httpcore.ConnectError, self._httpcore.ConnectTimeout) as error:
                fault = error
        raise fault

    def connect_unix_socket(self, *args: Any, **named: Any) -> Any:
        """See `httpcore.NetworkBackend.connect_unix_socket`."""
        return self._inner.connect_unix_socket(*args, **named)

    def sleep(self, seconds: float) -> None:
        """See `httpcore.NetworkBackend.sleep`."""
        self._inner.sleep(seconds)


def _format_address(address: tuple[Any, ...]) -> str:
    """Return *address* as numeric text. A link-local IPv6 address includes its scope."""
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
