"""The account of a server: address and key, completed from the environment."""

from __future__ import annotations

import os
from ipaddress import ip_address
from urllib.parse import urlsplit

from llmcore_openai_compatible.options import CompatibleOptions
from llmcore_openai_compatible.servers import Server
from llmcore_openai_optimized.account import Account, find_key

__all__ = ["is_loopback", "make_account"]


def make_account(server: Server, options: CompatibleOptions) -> Account:
    """Return address and key of *server* from *options*, the environment or the defaults, without checking them."""
    key, source = find_key(options.api_key, server)
    configured = (options.base_url or "").strip()
    named = os.environ.get(server.url_variable, "").strip() if server.url_variable else ""
    if configured:
        url = _complete(configured, server)
    else:
        url = _complete(_read_host(named, server), server) if named else server.url
    return Account(
        base_url=url.rstrip("/"),
        key=key,
        key_source=source,
        table=f"llm.{server.name}",
        url_variable=server.url_variable if named and not configured else None,
        vendor=server,
    )


def is_loopback(url: str) -> bool:
    """Return whether *url* leads to this machine."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:  # the host is a name, or *url* is invalid
        return False


def _read_host(text: str, server: Server) -> str:
    """Return the address in a variable such as OLLAMA_HOST: an address, a host, a port, or a host with a port."""
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
    place, slash, path = rest.partition("/")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, "" if found else str(server.default_port)
    if host in {"", "0.0.0.0", "[::]"}:  # noqa: S104 - the addresses on which a server listens; a client connects to this machine
        host = "127.0.0.1"
    return f"{scheme}://{host}{':' if port else ''}{port}{slash}{path}"


def _complete(url: str, server: Server) -> str:
    """Return *url*. Add the protocol's path to a URL without a path."""
    try:
        parts = urlsplit(url)
    except ValueError:  # creating the client raises the error
        return url
    if parts.path.strip("/") or parts.query or not parts.netloc:
        return url
    return f"{url.rstrip('/')}{urlsplit(server.url).path}"
