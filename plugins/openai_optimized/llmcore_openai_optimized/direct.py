"""A blocking HTTP/1.1 client on sockets, for servers that are reached without a proxy.

This client takes a quarter of the CPU time of httpx2 on httpcore: the request leaves in one packet, and httptools
(llhttp, the parser of Node.js) reads the response. Failures raise the same httpx2 exceptions as with httpcore. The
client calls `mark_sent` before it sends a request.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

import httpx2

from llmcore.support import forks
from llmcore.support.name_lookup import connect
from llmcore.support.sending import mark_sent
from llmcore_openai_optimized.idle_connections import IDLE_S, MAX_IDLE, is_readable
from llmcore_openai_optimized.request import Endpoint, Request, Timeouts
from llmcore_openai_optimized.response import ResponseParser

__all__ = ["DirectClient", "DirectResponse"]

_RECEIVE_BYTES: Final = 64 * 1024


class DirectClient:
    """Sends requests over reused connections. Threads may share it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._idle: deque[_Connection] = deque()
        self._lock = forks.lock()
        self._is_closed = False

    def send(self, request: Request) -> DirectResponse:
        """Send *request* and return its response when the head has arrived. The caller reads and closes the response.

        Raises:
            httpx2.TransportError: The connection failed, or the server did not send an HTTP response.
            ProviderError: The call ended before the request was sent.
        """
        message = request.render()
        connection = self._take(request.endpoint) or _connect(request, self._context)
        response = DirectResponse(self, connection, request.timeout)
        try:
            connection.send(message, request.timeout)
            response.read_head()
        except BaseException:
            response.abort()
            raise
        return response

    def close(self) -> None:
        """Close the idle connections; the connection of a request in progress is closed together with its response."""
        with self._lock:
            self._is_closed = True
            idle = list(self._idle)
            self._idle.clear()
        for connection in idle:
            connection.close()

    def keep(self, connection: _Connection) -> None:
        """Keep *connection* for another request."""
        now = connection.idle_since = time.monotonic()
        surplus = []
        with self._lock:
            self._idle.append(connection)
            while self._idle and (
                self._is_closed or len(self._idle) > MAX_IDLE or now - self._idle[0].idle_since > IDLE_S
            ):
                surplus.append(self._idle.popleft())
        for each in surplus:
            each.close()

    def _take(self, endpoint: Endpoint) -> _Connection | None:
        """Return the most recently used connection that can send to *endpoint*; return None if there is none.

        Close unusable connections that were used more recently.
        """
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_usable(endpoint):
                return connection
            connection.close()


class DirectResponse:
    """The response to one request."""

    def __init__(self, client: DirectClient, connection: _Connection, timeout: Timeouts) -> None:
        self._client = client
        self._connection: _Connection | None = connection
        self._timeout = timeout
        self._parser = ResponseParser()

    @property
    def status_code(self) -> int:
        """See `SyncResponse.status_code`."""
        return self._parser.status_code

    @property
    def headers(self) -> httpx2.Headers:
        """See `SyncResponse.headers`."""
        return self._parser.headers

    def read_head(self) -> None:
        """Read until the head of the response is complete. A part of the body may have been read too."""
        while not self._parser.has_head:
            self._receive()
            if self._parser.failure is not None and not self._parser.has_head:
                raise self._parser.failure

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body as it arrives, decompressed.

        Raises:
            httpx2.TransportError: The connection broke, or no byte arrived in time.
            httpx2.DecodingError: The body cannot be decompressed.
        """
        if "content-encoding" in self.headers:
            packed = httpx2.Response(self.status_code, headers=self.headers, stream=_Packed(self))
            return packed.iter_bytes()
        return self.iter_raw()

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the body as it arrives, still compressed if the server compressed it. Raises as `iter_bytes` does."""
        parser = self._parser
        while True:
            if data := parser.take():
                yield data
            elif parser.failure is not None:
                raise parser.failure
            elif parser.is_complete:
                return
            else:
                self._receive()

    def drain(self, seconds: float) -> None:
        """Read the rest of the body for at most *seconds*, so that the connection can be reused.

        Raises:
            httpx2.TransportError: The connection broke, or the body did not end in time.
        """
        ends, self._timeout = time.monotonic() + seconds, _Deadline(seconds)
        while not (self._parser.is_complete or self._parser.failure) and time.monotonic() < ends:
            self._receive()

    def close(self) -> None:
        """Make the connection idle if the response is complete and the server does not close the connection; otherwise close it."""
        connection, self._connection = self._connection, None
        self._parser.close()
        if connection is None:
            return
        if self._parser.is_complete and self._parser.is_reusable and connection.is_intact:
            self._client.keep(connection)
        else:
            connection.close()

    def abort(self) -> None:
        """Close the connection."""
        self._parser.is_reusable = False
        self.close()

    def _receive(self) -> None:
        """Parse the next bytes of the connection."""
        if self._connection is None:
            raise httpx2.ReadError("the response is closed")
        data = self._connection.receive(self._timeout)
        if data:
            self._parser.feed(data)
        else:
            self._parser.end()


class _Deadline:
    """The timeouts of a response that must end within *seconds*."""

    __slots__ = ("_ends",)

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def get(self, step: str, default: float | None = None) -> float | None:  # noqa: ARG002 - every step has the same timeout
        """See `Timeouts.get`."""
        return max(self._ends - time.monotonic(), 0.001)


class _Packed(httpx2.SyncByteStream):
    """A compressed body, which httpx2 decompresses."""

    def __init__(self, response: DirectResponse) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_raw()


class _Connection:
    """A connection to a server, for one request at a time."""

    __slots__ = ("_address", "_seconds", "_socket", "idle_since", "is_intact")

    def __init__(self, opened: socket.socket, endpoint: Endpoint) -> None:
        self._socket = opened
        self._address = endpoint.address
        self._seconds: float | None = None
        """The timeout of the socket."""
        self.idle_since = 0.0
        self.is_intact = True
        """True if all requests were sent completely."""

    def send(self, message: bytes, timeout: Timeouts) -> None:
        """Call `mark_sent`, then send *message*."""
        mark_sent()
        try:
            self._set_timeout(timeout.get("write"))
            self._socket.sendall(message)
        except TimeoutError as error:
            raise httpx2.WriteTimeout(str(error)) from error
        except OSError:  # do not raise: the server may have answered before it has read the whole request
            self.is_intact = False

    def receive(self, timeout: Timeouts) -> bytes:
        """Return the next bytes; empty at the end of the connection."""
        try:
            self._set_timeout(timeout.get("read"))
            return self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx2.ReadError(str(error)) from error

    def is_usable(self, endpoint: Endpoint) -> bool:
        """Return whether the connection leads to *endpoint*, is recent and open, and has no unread data."""
        if self._address != endpoint.address or time.monotonic() - self.idle_since > IDLE_S:
            return False
        return not is_readable(self._socket.fileno())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _set_timeout(self, seconds: float | None) -> None:
        if seconds != self._seconds:  # setting the timeout costs a system call
            self._socket.settimeout(seconds)
            self._seconds = seconds


def _connect(request: Request, context: ssl.SSLContext) -> _Connection:
    endpoint, opened = request.endpoint, None
    scheme, host, port = endpoint.address
    try:
        opened = connect(host, port, lambda: request.timeout.get("connect"))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "https":
            opened = context.wrap_socket(opened, server_hostname=host)
    except TimeoutError as error:
        _close(opened)
        raise httpx2.ConnectTimeout(str(error)) from error
    except (OSError, UnicodeError) as error:
        _close(opened)
        raise httpx2.ConnectError(str(error)) from error
    except BaseException:
        _close(opened)
        raise
    return _Connection(opened, endpoint)


def _close(opened: socket.socket | None) -> None:
    if opened is not None:
        opened.close()
