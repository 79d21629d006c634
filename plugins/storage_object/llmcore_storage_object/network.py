"""Check the environment's proxies and certificates, since the errors of the SDK do not name the variable."""

from __future__ import annotations

from llmcore.errors import ConfigError
from llmcore.support.certificates import check_certificates
from llmcore.support.proxies import find_proxy

__all__ = ["check_network"]


def check_network(url: str) -> None:
    """Check the variables for proxies and certificates that a request to *url* depends on.

    Raises:
        ConfigError: The proxy or the certificates of a variable cannot be used.
    """
    proxy = find_proxy(url)
    if proxy is not None and proxy.url.startswith("socks"):
        raise ConfigError(
            f"{proxy.variable} names a SOCKS proxy, which the SDK for object stores cannot use",
            code="LC203",
            where=proxy.variable,
            expected="http://HOST:PORT or https://HOST:PORT",
            fix=f"unset {proxy.variable}",
        )
    if url.startswith("https:") or (proxy is not None and proxy.url.startswith("https:")):
        check_certificates()
