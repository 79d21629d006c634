"""The vendor's client, and the HTTP clients through which it sends its requests.

The HTTP clients add the key and enforce the deadline of each request.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

import httpx
from elevenlabs import AsyncElevenLabs, ElevenLabs  # noqa: TID253 - loaded only when a provider is created

from llmcore.errors import MalformedReply
from llmcore.support.certificates import check_certificates
from llmcore.support.http import (
    RequestDeadline,
    areport_sending,
    bound_look_ups,
    get_deadline,
    report_sending,
)
from llmcore.support.proxies import Proxy, find_proxy
from llmcore.support.sending import get_headers
from llmcore_voice_tts.account import Account

__all__ = ["DEFAULT_S", "Sdk", "find_route", "make_async_sdk", "make_sdk"]

S = TypeVar("S")
W = TypeVar("W")

DEFAULT_S: Final = 240.0
"""Seconds for a request without a deadline."""
_MOST_BYTES: Final = 512_000_000
"""Maximum bytes of an answer. The speech of the longest text in the largest format has fewer bytes."""

_OF_THE_BODY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that describe the bytes of a body."""


class Sdk(NamedTuple, Generic[S, W]):
    """A client of the vendor, and the HTTP client through which it sends its requests."""

    client: S
    web: W


class _LimitedBody:
    """Enforce the maximum size and the deadline of one answer's body."""

    def __init__(self, deadline: RequestDeadline) -> None:
        self._deadline = deadline
        self._size = 0

    def add(self, piece: bytes) -> bytes:
        self._deadline.check()
        self._size += len(piece)
        if self._size > _MOST_BYTES:
            raise MalformedReply(f"the answer has more than {_MOST_BYTES:,} bytes", provider="elevenlabs")
        return piece


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, deadline: RequestDeadline) -> None:
        self._inner = inner
        self._limit = _LimitedBody(deadline)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._limit.add, self._inner)

    def close(self) -> None:
        self._inner.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, deadline: RequestDeadline) -> None:
        self._inner = inner
        self._limit = _LimitedBody(deadline)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            yield self._limit.add(piece)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _SyncWeb(httpx.Client):
    """Send the requests of the vendor's client."""

    def __init__(self, account: Account) -> None:
        transport = httpx.HTTPTransport(**_make_network_arguments(account.base_url))
        super().__init__(follow_redirects=False, trust_env=False, transport=bound_look_ups(transport))
        self._account = account

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """See `httpx.Client.send`."""
        deadline = _sign(request, self._account, report_sending)
        response = super().send(request, stream=True, **options)
        deadline.begun = True
        response.stream = _SyncBody(cast("httpx.SyncByteStream", response.stream), deadline)
        if stream and not response.is_error:
            return response
        try:
            response.read()
        finally:
            response.close()
        return _mend(response)


class _AsyncWeb(httpx.AsyncClient):
    """Send the requests of the vendor's client."""

    def __init__(self, account: Account) -> None:
        super().__init__(follow_redirects=False, trust_env=False, **_make_network_arguments(account.base_url))
        self._account = account

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """See `httpx.AsyncClient.send`."""
        deadline = _sign(request, self._account, areport_sending)
        response = await super().send(request, stream=True, **options)
        deadline.begun = True
        response.stream = _AsyncBody(cast("httpx.AsyncByteStream", response.stream), deadline)
        if stream and not response.is_error:
            return response
        try:
            await response.aread()
        finally:
            await response.aclose()
        return _mend(response)


def _mend(response: httpx.Response) -> httpx.Response:
    """Return *response*. If it is an error, convert its body to UTF-8.

    From a body that is not UTF-8, the vendor's client would make an error without the status.
    """
    if not response.is_error:
        return response
    headers = [pair for pair in response.headers.multi_items() if pair[0] not in _OF_THE_BODY]
    content = response.content.decode(errors="replace").encode()
    return httpx.Response(response.status_code, headers=headers, content=content, request=response.request)


def make_sdk(account: Account) -> Sdk[ElevenLabs, httpx.Client]:
    """Return the blocking client. The client does not get the key; `_sign` adds the key to each request."""
    web = _SyncWeb(account)
    return Sdk(ElevenLabs(api_key=None, base_url=account.base_url, httpx_client=web), web)


def make_async_sdk(account: Account) -> Sdk[AsyncElevenLabs, httpx.AsyncClient]:
    """Return the asynchronous client for the running event loop. The client does not get the key."""
    web = _AsyncWeb(account)
    return Sdk(AsyncElevenLabs(api_key=None, base_url=account.base_url, httpx_client=web), web)


def find_route(url: str) -> Proxy | None:
    """Return the proxy for *url*; None for a direct connection.

    Raises:
        ConfigError: An environment variable for proxies or certificates has an invalid value.
    """
    proxy = find_proxy(url)
    if _has_tls(url, proxy):
        check_certificates()
    return proxy


def _has_tls(url: str, proxy: Proxy | None) -> bool:
    return url.startswith("https:") or (proxy is not None and proxy.url.startswith("https:"))


def _make_network_arguments(url: str) -> dict[str, Any]:
    """Return the arguments that set the proxy and the certificates of an HTTP client or its transport.

    The client itself does not read the environment.
    """
    proxy = find_route(url)
    context = httpx.create_ssl_context() if _has_tls(url, proxy) else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if proxy is None:
        return {"verify": context}
    secure = proxy.url.startswith("https:")
    return {"verify": context, "proxy": httpx.Proxy(proxy.url, ssl_context=context if secure else None)}


def _sign(request: httpx.Request, account: Account, report: Callable[..., Any]) -> RequestDeadline:
    """Add the key, the deadline and the headers of observers to *request*; return the deadline.

    Only this function puts the key into a request.
    """
    account.check_key()
    deadline = get_deadline()
    request.extensions = {**request.extensions, "timeout": deadline, "trace": report}
    request.headers.update(get_headers())
    request.headers["xi-api-key"] = account.find_key() or ""
    return deadline
