"""The names of a local server, and the name that a request used.

A server that checks `Host` is safe from DNS rebinding, in which a web page reaches the server under the page's own
name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

__all__ = ["LOOPBACK_NAMES", "get_host_name", "is_loopback"]

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names of the loopback address, in lower case."""


def is_loopback(host: str) -> bool:
    """Return whether *host* is the name or an address of this machine that other machines cannot reach."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def get_host_name(headers: Mapping[str, str]) -> str:
    """Return the name in the header `host`, in lower case, without port and brackets; empty if there is no header."""
    given = headers.get("host", "")
    name, _, port = given.rpartition(":")
    if not port.isdigit():
        name = given
    return name.strip("[]").lower()
