"""A request as bytes and headers, and the HTTP clients that send it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, Protocol, TypeAlias

import httpx2

__all__ = [
    "AsyncHttpClient",
    "AsyncResponse",
    "Endpoint",
    "Header",
    "Request",
    "SyncHttpClient",
    "SyncResponse",
    "Timeouts",
]

_FORBIDDEN: Final = re.compile(rb"[\0\r\n]")
"""Characters that would end a header and begin another one."""

_PORTS: Final = {"http": 80, "https": 443}

Header: TypeAlias = tuple[bytes, bytes]
"""Name and value."""


class Timeouts(Protocol):
    """The timeouts of the steps of a request."""

    def get(self, step: str, default: float | None = None) -> float | None:
        """Return the seconds for *step*: connect, read, write or pool."""


class Endpoint:
    """The method, the address and the headers that all requests of one kind share."""

    __slots__ = ("_head", "address", "headers", "method", "text", "url")

    def __init__(self, method: str, url: httpx2.URL, headers: Sequence[Header]) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.address = (url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])
        """Scheme, host and port."""
        self.text = str(url)
        line = b"%s %s HTTP/1.1\r\n" % (method.encode(), url.raw_path)
        self._head = line + b"".join(map(_render_header, headers))

    def render(self, headers: Sequence[Header], content: bytes) -> bytes:
        """Return a whole request of HTTP/1.1: *content* with the shared headers and the additional *headers*.

        Raises:
            httpx2.LocalProtocolError: A header contains a line break.
        """
        more = b"".join(map(_render_header, headers))
        if content:
            more += b"content-length: %d\r\n" % len(content)
        return b"%s%s\r\n%s" % (self._head, more, content)


class Request:
    """One request to an endpoint."""

    __slots__ = ("content", "endpoint", "own_headers", "timeout")

    def __init__(
        self, endpoint: Endpoint, own_headers: Sequence[Header], content: bytes, timeout: Timeouts
    ) -> None:
        self.endpoint = endpoint
        self.own_headers = own_headers
        """The headers that only this request has: the key, and the headers of observers."""
        self.content = content
        self.timeout = timeout

    @property
    def headers(self) -> list[Header]:
        """All headers, except those that a client adds."""
        return [*self.endpoint.headers, *self.own_headers]

    def render(self) -> bytes:
        """Return the request as bytes; see `Endpoint.render`."""
        return self.endpoint.render(self.own_headers, self.content)


class SyncResponse(Protocol):
    """The response of a blocking client."""

    @property
    def status_code(self) -> int:
        """The status."""

    @property
    def headers(self) -> httpx2.Headers:
        """The headers."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body as it arrives, decompressed."""

    def close(self) -> None:
        """Release the connection."""


class AsyncResponse(Protocol):
    """The response of an asynchronous client; see `SyncResponse`."""

    @property
    def status_code(self) -> int:
        """The status."""

    @property
    def headers(self) -> httpx2.Headers:
        """The headers."""

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, decompressed."""

    async def aclose(self) -> None:
        """Release the connection."""


class SyncHttpClient(Protocol):
    """A blocking client."""

    def send(self, request: Request) -> SyncResponse:
        """Send *request* and return its response when the head has arrived.

        Raises:
            httpx2.TransportError: The connection failed, or the server did not send an HTTP response.
            ProviderError: The call ended before the request was sent.
        """

    def close(self) -> None:
        """Close the connections."""


class AsyncHttpClient(Protocol):
    """An asynchronous client for one event loop; see `SyncHttpClient`."""

    async def send(self, request: Request) -> AsyncResponse:
        """See `SyncHttpClient.send`."""

    async def aclose(self) -> None:
        """Close the connections."""


def _render_header(header: Header) -> bytes:
    line = b"%s: %s" % header
    if _FORBIDDEN.search(line):
        raise httpx2.LocalProtocolError("a header contains a line break")
    return line + b"\r\n"
