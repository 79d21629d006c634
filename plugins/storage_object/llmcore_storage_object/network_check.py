"""Check the environment's proxies and certificates. The SDK's own errors do not name the faulty variable."""

from __future__ import annotations

from llmcore.errors import ConfigError
from llmcore.support.certificates import check_certificates
from llmcore.support.proxies import find_proxy

__all__ = ["check_network"]


def check_network(url: str) -> None:
    """Check the proxy and certificate variables that apply to *url*.

    Raises:
        ConfigError: A variable names an unusable proxy or certificate.
    """
    proxy = find_proxy(url)
    if proxy is not None and proxy.url.startswith("socks"):
        raise ConfigError(
            f"{proxy.variable} names a SOCKS proxy, but the SDK for object stores does not support SOCKS",
            code="LC203",
            where=proxy.variable,
            expected="http://HOST:PORT or https://HOST:PORT",
            fix=f"unset {proxy.variable}",
        )
    if url.startswith("https:") or (proxy is not None and proxy.url.startswith("https:")):
        check_certificates()
