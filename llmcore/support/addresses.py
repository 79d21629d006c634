"""Check the address of a server, so that an HTTP client does not fail on it with an unclear error."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from llmcore.support.text import find_invisible

__all__ = ["find_address_fault"]

_LONGEST_LABEL: Final = 63
_LAST_PORT: Final = 65535


def find_address_fault(url: str) -> str | None:
    """Return why *url* is not the address of an HTTP server; return None for a valid address.

    The text does not contain the address, which may contain a password.
    """
    if invisible := find_invisible(url):
        return f"it contains {invisible}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "its host is not an IPv6 address"
    if parts.scheme not in {"http", "https"}:
        return "it does not begin with http:// or https://"
    return _place_fault(parts)


def _place_fault(parts: SplitResult) -> str | None:
    if parts.netloc.rpartition("@")[2].count(":") > 1 and "[" not in parts.netloc:
        return "an IPv6 address needs brackets, such as http://[::1]:8000/v1"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return f"its port must be a number from 1 to {_LAST_PORT}"
    host = (parts.hostname or "").removesuffix(".")
    if not host:
        return "it has no host"
    return None if ":" in host else _find_host_fault(host)


def _find_host_fault(host: str) -> str | None:
    try:
        labels = host.encode("ascii" if host.isascii() else "idna").decode().split(".")
    except UnicodeError:
        return "its host is not a valid DNS name"
    if any(not label or len(label) > _LONGEST_LABEL for label in labels):
        return f"each part of its host must have from 1 to {_LONGEST_LABEL} characters"
    return None
