"""Find the proxy that the environment names for an address, with one set of rules for every HTTP client.

HTTP clients read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY by different rules, and some clients ignore them. A
backend calls `find_proxy` once, passes the result to its client, and prevents its client from reading these variables.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from llmcore.errors import ConfigError

__all__ = ["Proxy", "find_proxy"]

_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy of the environment."""

    url: str
    """The address, with the scheme http, https, socks5 or socks5h. Never show it, because it may contain a password."""
    variable: str
    """The variable that names the proxy, such as "HTTPS_PROXY"."""

    @property
    def shown(self) -> str:
        """The address of the proxy without its password, and the variable that names the proxy."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} (from {self.variable})"

    def __repr__(self) -> str:
        """Leave out the password."""
        return f"Proxy({self.shown!r})"


def find_proxy(
    url: str, *, socks_package: str = "socksio", install: str = "pip install socksio"
) -> Proxy | None:
    """Return the proxy for *url*; None if there is none, or if NO_PROXY lists the host.

    Args:
        url: The address of the server, http:// or https://.
        socks_package: The module that the HTTP client imports for SOCKS.
        install: The command that installs *socks_package*.

    Raises:
        ConfigError: The variable does not contain the address of a usable proxy, or names a SOCKS proxy although
            *socks_package* is not installed.
    """
    parts = urlsplit(url)
    known = getproxies()
    name = next((each for each in (parts.scheme, "all") if known.get(each)), None)
    if name is None or _is_excluded(parts, known.get("no", "")):
        return None
    variable = _find_variable(name)
    address = known[name].strip()
    address = address if "://" in address else f"http://{address}"
    if address.startswith("socks://"):  # the scheme that GNOME writes
        address = address.replace("socks://", "socks5://", 1)
    proxy = Proxy(address.rstrip("/"), variable)
    if not _is_usable(proxy.url):
        raise ConfigError(
            f"{variable} must be the address of a proxy",
            code="LC203",
            where=variable,
            expected="http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT or socks5h://HOST:PORT",
            fix=_exclude(parts),
        )
    if proxy.url.startswith("socks") and not _is_installed(socks_package):
        raise ConfigError(
            f"{variable} names a SOCKS proxy, which needs the package `{socks_package}`; it is not installed",
            code="LC203",
            where=variable,
            notes=(f"without the proxy: {_exclude(parts)}",),
            fix=install,
        )
    return proxy


def _is_installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _is_usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        port_fits = parts.port is None or parts.port > 0
        return parts.scheme in _SCHEMES and bool(parts.hostname) and port_fits and parts.path in {"", "/"}
    except ValueError:
        return False


def _exclude(parts: SplitResult) -> str:
    return f"export NO_PROXY={parts.hostname}"


def _find_variable(name: str) -> str:
    for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
        if os.environ.get(variable):
            return variable
    return "the settings of the system"


def _is_excluded(parts: SplitResult, listed: str) -> bool:
    """Return whether NO_PROXY lists the host: by name, domain suffix, address, network, or "*"."""
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme)
    return any(_is_match(host, port, entry.strip().lower()) for entry in listed.replace(" ", ",").split(","))


def _is_match(host: str, port: int | None, entry: str) -> bool:
    entry = entry.partition("://")[2] if "://" in entry else entry
    if entry == "*":
        return True
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and not (entry.count(":") > 1 and not entry.startswith("[")):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").lstrip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))
