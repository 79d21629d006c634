"""The blocking and the asynchronous transport, with the same rules for proxies, certificates and headers.

This module sets the proxy and the certificates; the transports do not read the environment. Without a proxy, requests
use the clients on sockets (`direct.py`, `direct_async.py`), because httpcore takes four times their CPU time. With a
proxy, requests use httpcore, because it supports CONNECT and SOCKS.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx2

from llmcore.support.certificates import check_certificates
from llmcore.support.http import bound_look_ups
from llmcore.support.proxies import Proxy, find_proxy
from llmcore.support.sending import mark_sent
from llmcore_openai_optimized.direct import DirectClient
from llmcore_openai_optimized.direct_async import AsyncDirectClient
from llmcore_openai_optimized.request import AsyncHttpClient, Request, SyncHttpClient

__all__ = ["Route", "make_async_client", "make_sync_client"]

_LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
_INSTALL: Final = "pip install socksio"


class Route:
    """The route to the server of one account: the proxy, and whether TLS is used."""

    __slots__ = ("_tls", "proxy")

    def __init__(self, url: str) -> None:
        """Find the route to *url*.

        Raises:
            ConfigError: An environment variable for proxies or certificates has an invalid value, or names a
                SOCKS proxy although the package `socksio` is not installed.
        """
        self.proxy: Proxy | None = find_proxy(url, install=_INSTALL)
        self._tls = url.startswith("https:") or (
            self.proxy is not None and self.proxy.url.startswith("https:")
        )
        if self._tls:
            check_certificates()

    @property
    def shown_proxy(self) -> str:
        """The proxy without secrets; empty if there is none."""
        return self.proxy.shown if self.proxy is not None else ""

    def make_ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context. Without TLS, return an empty context, which is fast to create."""
        return httpx2.create_ssl_context() if self._tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def make_httpx_proxy(self, context: ssl.SSLContext) -> httpx2.Proxy | None:
        """Return the proxy for httpx2; None if the route has no proxy."""
        if self.proxy is None:
            return None
        secure = self.proxy.url.startswith("https:")
        return httpx2.Proxy(self.proxy.url, ssl_context=context if secure else None)

    def make_transport(self, context: ssl.SSLContext) -> httpx2.HTTPTransport:
        """Return a blocking transport of httpx2 for this route."""
        return bound_look_ups(
            httpx2.HTTPTransport(verify=context, limits=_LIMITS, proxy=self.make_httpx_proxy(context))
        )


def make_sync_client(route: Route) -> SyncHttpClient:
    """Return a blocking client that does not follow redirects."""
    context = route.make_ssl_context()
    if route.proxy is None:
        return DirectClient(context)
    transport = route.make_transport(context)
    return _HttpxClient(httpx2.Client(transport=transport, trust_env=False, follow_redirects=False))


def make_async_client(route: Route) -> AsyncHttpClient:
    """Return an asynchronous client, for the running loop, that does not follow redirects."""
    context = route.make_ssl_context()
    if route.proxy is None:
        return AsyncDirectClient(context)
    transport = httpx2.AsyncHTTPTransport(
        verify=context, limits=_LIMITS, proxy=route.make_httpx_proxy(context)
    )
    return _AsyncHttpxClient(httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False))


class _HttpxClient:
    """Send requests through httpcore, and report when the first byte is sent."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def send(self, request: Request) -> httpx2.Response:
        """See `SyncHttpClient.send`."""
        return self._client.send(_make_httpx_request(request, _report), stream=True)

    def close(self) -> None:
        """See `SyncHttpClient.close`."""
        self._client.close()


class _AsyncHttpxClient:
    """See `_HttpxClient`."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def send(self, request: Request) -> httpx2.Response:
        """See `SyncHttpClient.send`."""
        return await self._client.send(_make_httpx_request(request, _areport), stream=True)

    async def aclose(self) -> None:
        """See `AsyncHttpClient.aclose`."""
        await self._client.aclose()


def _make_httpx_request(request: Request, trace: Callable[..., Any]) -> httpx2.Request:
    endpoint = request.endpoint
    extensions = {"timeout": request.timeout, "trace": trace}
    return httpx2.Request(
        endpoint.method, endpoint.url, headers=request.headers, content=request.content, extensions=extensions
    )


def _report(event: str, info: Mapping[str, Any]) -> None:
    """Call `mark_sent` when httpcore starts to send the request, but not for the CONNECT to a proxy."""
    if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
        mark_sent()


async def _areport(event: str, info: Mapping[str, Any]) -> None:
    _report(event, info)
