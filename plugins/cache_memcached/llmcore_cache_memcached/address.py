"""Parse the addresses of servers."""

from __future__ import annotations

from typing import Final, NamedTuple

from llmcore.errors import ConfigError
from llmcore.support.text import find_invisible

__all__ = ["Address", "parse"]

_PORT: Final = 11211
_MAX_PORT: Final = 65_535
_EXPECTED: Final = '"host:port", "host", "[::1]:port" or the path of a Unix socket'


class Address(NamedTuple):
    """One server."""

    host: str
    """The path of a Unix socket if `port` is 0."""
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """Return the address in *text*.

    Raises:
        ConfigError: *text* is not an address.
    """
    if text.startswith("/"):
        return Address(text, 0)
    scheme, colon, rest = text.partition("://")
    if colon:
        raise _make_error(
            text, f"has the scheme `{scheme}://`, which memcached does not have", rest.rstrip("/")
        )
    if find_invisible(text) or any(char.isspace() for char in text) or not text:
        raise _make_error(text, "is empty or contains a space or an invisible character")
    host, port = text, str(_PORT)
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise _make_error(text, "is not an IPv6 address in brackets")
        port = after[1:] if after else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _MAX_PORT:
        raise _make_error(text, f"has no host, or a port that is not a number from 1 to {_MAX_PORT}")
    return Address(host, int(port))


def _make_error(text: str, what: str, better: str = "127.0.0.1:11211") -> ConfigError:
    return ConfigError(
        f"an address of a memcached server {what}: {text!r}",
        where="servers in [cache.memcached]",
        expected=_EXPECTED,
        fix=f"llmcore config set cache.memcached.servers '[\"{better}\"]'",
    )
