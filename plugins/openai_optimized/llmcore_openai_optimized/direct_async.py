"""The asynchronous variant of `direct.py`: an asyncio protocol for each connection, in one event loop.

This client takes a third of the CPU time of aiohttp. A response has one timer. A chunk moves the deadline, but the
timer is set again only when it fires.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a provider is created
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

import aiohappyeyeballs
import httpx2
from aiohappyeyeballs import AddrInfoType

from llmcore.support.sending import mark_sent
from llmcore_openai_optimized.idle_connections import IDLE_S, MAX_IDLE, is_readable
from llmcore_openai_optimized.request import Endpoint, Request, Timeouts
from llmcore_openai_optimized.response import ResponseParser

__all__ = ["AsyncDirectClient", "AsyncDirectResponse"]

_MAX_BUFFERED: Final = 256 * 1024
"""Maximum bytes that may arrive while the caller does not wait for bytes. Beyond this limit, reading pauses."""
_TOLERANCE_S: Final = 0.005
"""Tolerance in seconds. If a new deadline is earlier than the timer by no more than this, the timer is not set again."""
_NEXT_ADDRESS_S: Final = 0.25
"""Seconds after which the next address of a host is tried in parallel (Happy Eyeballs, RFC 8305)."""


class AsyncDirectClient:
    """Sends requests over reused connections. The client belongs to the event loop in which it was created."""

    def __init__(self, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Connection] = deque()
        self._is_closed = False

    async def send(self, request: Request) -> AsyncDirectResponse:
        """Send *request* and return its response when the head has arrived. The caller reads and closes the response.

        Raises:
            httpx2.TransportError: The connection failed, or the server did not send an HTTP response.
            ProviderError: The call ended before the request was sent.
        """
        message = request.render()
        connection = self._take(request.endpoint) or await self._connect(request)
        response = AsyncDirectResponse(self, connection, request.timeout)
        try:
            mark_sent()
            connection.transport.write(message)
            await response.read_head()
        except BaseException:
            response.abort()
            raise
        return response

    async def aclose(self) -> None:
        """Close the idle connections; the connection of a request in progress is closed together with its response."""
        self._is_closed = True
        for connection in self._idle:
            connection.transport.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes the sockets in its next iteration

    def keep(self, connection: _Connection) -> None:
        """Keep *connection* for another request."""
        now = connection.idle_since = self._loop.time()
        self._idle.append(connection)
        while self._idle and (
            self._is_closed or len(self._idle) > MAX_IDLE or now - self._idle[0].idle_since > IDLE_S
        ):
            self._idle.popleft().transport.abort()

    def _take(self, endpoint: Endpoint) -> _Connection | None:
        """Return the most recently used connection that can send to *endpoint*; return None if there is none.

        Close unusable connections that were used more recently.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(endpoint):
                return connection
            connection.transport.abort()
        return None

    async def _connect(self, request: Request) -> _Connection:
        # aiohappyeyeballs, because asyncio's own `happy_eyeballs_delay` leaves a socket open after a cancellation.
        scheme, host, port = request.endpoint.address
        secure: dict[str, Any] = {"ssl": self._context, "server_hostname": host} if scheme == "https" else {}
        try:
            async with asyncio.timeout(request.timeout.get("connect")):
                opened = await aiohappyeyeballs.start_connection(
                    await self._resolve(host, port), happy_eyeballs_delay=_NEXT_ADDRESS_S
                )
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self._loop, request.endpoint), sock=opened, **secure
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(str(error)) from error
        return connection

    async def _resolve(self, host: str, port: int) -> Sequence[AddrInfoType]:
        """Return the addresses of *host*. An IP address is parsed here, because asyncio would start a thread for it."""
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class AsyncDirectResponse(httpx2.AsyncByteStream):
    """The response to one request."""

    def __init__(self, client: AsyncDirectClient, connection: _Connection, timeout: Timeouts) -> None:
        self._client = client
        self._connection: _Connection | None = connection
        self._timeout = timeout
        self._parser = connection.parser = ResponseParser()

    @property
    def status_code(self) -> int:
        """See `AsyncResponse.status_code`."""
        return self._parser.status_code

    @property
    def headers(self) -> httpx2.Headers:
        """See `AsyncResponse.headers`."""
        return self._parser.headers

    @property
    def is_complete(self) -> bool:
        """True if all of the body has arrived."""
        return self._parser.is_complete

    async def read_head(self) -> None:
        """Wait until the head of the response is complete. A part of the body may have arrived too."""
        while not self._parser.has_head:
            if self._parser.failure is not None:
                raise self._parser.failure
            await self._wait()

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, decompressed; see `DirectResponse.iter_bytes`."""
        if "content-encoding" in self.headers:
            packed = httpx2.Response(self.status_code, headers=self.headers, stream=self)
            return packed.aiter_bytes()
        return self.__aiter__()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; see `aiter_bytes`."""
        parser = self._parser
        while True:
            if data := parser.take():
                yield data
            elif parser.failure is not None:
                raise parser.failure
            elif parser.is_complete:
                return
            else:
                await self._wait()

    async def aclose(self) -> None:
        """Make the connection idle if the response is complete and the server does not close the connection; otherwise close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.finish()
        if self._parser.is_complete and self._parser.is_reusable:
            self._client.keep(connection)
        else:
            connection.transport.abort()

    def abort(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()
            connection.transport.abort()

    async def _wait(self) -> None:
        """Wait for the next bytes.

        Raises:
            httpx2.ReadTimeout: No byte arrived in time.
        """
        if self._connection is None:
            raise httpx2.ReadError("the response is closed")
        await self._connection.wait(self._timeout.get("read"))


class _Connection(asyncio.Protocol):
    """A connection to a server, for one request at a time."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, endpoint: Endpoint) -> None:
        self._loop = loop
        self._address = endpoint.address
        self.parser: ResponseParser | None = None
        """The parser of the response in progress."""
        self.idle_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ends = 0.0
        self._buffered = 0
        self._is_paused = False

    async def wait(self, seconds: float | None) -> None:
        """Wait for bytes or the end of the connection.

        Raises:
            httpx2.ReadTimeout: Neither happened within *seconds*.
        """
        self._buffered = 0
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        if seconds is not None:
            self._ends = self._loop.time() + seconds
            if self._timer is not None and self._timer.when() > self._ends + _TOLERANCE_S:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._timer = self._loop.call_at(self._ends, self._check_time)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def finish(self) -> None:
        """End the response in progress."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.parser is not None:
            self.parser.close()
            self.parser = None

    def is_usable(self, endpoint: Endpoint) -> bool:
        """Return whether the connection leads to *endpoint*, is recent and open, and has no unread data."""
        if self._address != endpoint.address or self._loop.time() - self.idle_since > IDLE_S:
            return False
        # The loop may have been too busy to notice the end of the connection, so ask the socket.
        descriptor = self.transport.get_extra_info("socket").fileno()
        return not self.transport.is_closing() and descriptor >= 0 and not is_readable(descriptor)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol.connection_made`."""
        # A cast, because uvloop's transports are not derived from `asyncio.Transport`.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        if self.parser is None:  # no request is in progress
            self.transport.abort()
            return
        self.parser.feed(data)
        self._buffered += len(data)
        if self._waiter is None and self._buffered > _MAX_BUFFERED and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """See `asyncio.Protocol.eof_received`. The transport closes itself."""
        if self.parser is not None:
            self.parser.end()
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.BaseProtocol.connection_lost`."""
        if self.parser is not None:
            if error is None:
                self.parser.end()
            else:
                failure = httpx2.ReadError(str(error))
                failure.__cause__ = error
                self.parser.fail(failure)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _check_time(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._ends:
            self._waiter.set_exception(httpx2.ReadTimeout("no byte arrived in time"))
        else:  # bytes arrived after the timer was set, so the deadline is later
            self._timer = self._loop.call_at(self._ends, self._check_time)
