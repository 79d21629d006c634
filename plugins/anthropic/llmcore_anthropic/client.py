"""Create the clients of the vendor's SDK.

The SDK's clients send requests through HTTP clients of this plugin, which add the key and enforce the deadline.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import anthropic  # noqa: TID253 - loaded only when a provider is created
import httpx2

from llmcore.errors import PluginBroken
from llmcore.support.certificates import check_certificates
from llmcore.support.http import areport_sending, bound_look_ups, get_deadline, report_sending
from llmcore.support.proxies import Proxy, find_proxy
from llmcore.support.sending import get_headers
from llmcore_anthropic.options import Account

__all__ = ["Route", "check_sdk", "make_async_client", "make_client"]

_PLACEHOLDER: Final = "set-when-sent"
_LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
_SETTINGS: Final[dict[str, Any]] = {"follow_redirects": False, "trust_env": False}


_LOWEST_SDK: Final = "2.14"
_CONFLICT: Final = "which requires anthropic<1 only for its own provider `anthropic`"


def check_sdk() -> None:
    """Raise `PluginBroken` if the vendor's SDK is too old, for example because pip has downgraded it for any-llm."""
    installed, lowest = (
        [int(part) for part in text.split(".")[:2]] for text in (anthropic.__version__, _LOWEST_SDK)
    )
    if installed < lowest:
        raise PluginBroken(
            f"anthropic must be {_LOWEST_SDK} or later, got {anthropic.__version__}",
            expected=f"anthropic>={_LOWEST_SDK}",
            fix=f"pip install 'anthropic>={_LOWEST_SDK}'",
            notes=(f"pip may have replaced it for any-llm-sdk, {_CONFLICT}",),
        )


class Route:
    """The route to the server of an account: the proxy, and whether TLS is used."""

    def __init__(self, url: str) -> None:
        """Find the route to *url*.

        Raises:
            ConfigError: An environment variable for proxies or certificates has an invalid value, or names a
                SOCKS proxy although the package `socksio` is not installed.
        """
        self.proxy: Proxy | None = find_proxy(url, install="pip install socksio")
        self._has_tls = url.startswith("https:") or (
            self.proxy is not None and self.proxy.url.startswith("https:")
        )
        if self._has_tls:
            check_certificates()

    @property
    def shown_proxy(self) -> str:
        """The proxy without its password; empty if there is none."""
        return self.proxy.shown if self.proxy is not None else ""

    def make_settings(self) -> dict[str, Any]:
        """Return the arguments of a blocking HTTP client.

        The transport has the proxy and the certificates of this route. The client itself does not read the
        environment and does not follow redirects.
        """
        transport = bound_look_ups(httpx2.HTTPTransport(**self._make_transport_arguments()))
        return {"transport": transport, **_SETTINGS}

    def make_async_settings(self) -> dict[str, Any]:
        """See `make_settings`; for an asynchronous HTTP client."""
        return {"transport": httpx2.AsyncHTTPTransport(**self._make_transport_arguments()), **_SETTINGS}

    def _make_transport_arguments(self) -> dict[str, Any]:
        context = httpx2.create_ssl_context() if self._has_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        proxy = None
        if self.proxy is not None:
            secure = self.proxy.url.startswith("https:")
            proxy = httpx2.Proxy(self.proxy.url, ssl_context=context if secure else None)
        return {"verify": context, "limits": _LIMITS, "proxy": proxy}


def make_client(account: Account, route: Route) -> anthropic.Anthropic:
    """Return the blocking client. The client does not have the key."""

    def prepare(request: httpx2.Request) -> None:
        _prepare(request, account)
        request.extensions["trace"] = report_sending

    web = httpx2.Client(event_hooks={"request": [prepare]}, **route.make_settings())
    return anthropic.Anthropic(http_client=web, **_make_arguments(account))


def make_async_client(account: Account, route: Route) -> anthropic.AsyncAnthropic:
    """Return the asynchronous client for the running event loop. The client does not have the key."""

    async def prepare(request: httpx2.Request) -> None:
        _prepare(request, account)
        request.extensions["trace"] = areport_sending

    web = httpx2.AsyncClient(event_hooks={"request": [prepare]}, **route.make_async_settings())
    return anthropic.AsyncAnthropic(http_client=web, **_make_arguments(account))


def _make_arguments(account: Account) -> dict[str, Any]:
    return {
        "api_key": _PLACEHOLDER,
        "base_url": account.base_url,
        "default_headers": dict(account.headers),
        "max_retries": 0,  # the host retries
        "open_telemetry": False,
    }


def _prepare(request: httpx2.Request, account: Account) -> None:
    """Add the key, the deadline and the headers of observers. Only this function reads the key in order to send it."""
    request.headers.update(get_headers())
    request.extensions = {**request.extensions, "timeout": get_deadline()}
    for name in ("authorization", "x-api-key"):
        request.headers.pop(name, None)
    if account.key is not None:
        request.headers["x-api-key"] = account.key.reveal()
