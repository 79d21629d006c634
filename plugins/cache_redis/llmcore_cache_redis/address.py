"""Parse the address of a server, a group of Sentinels or a Cluster. No error shows a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from llmcore.errors import ConfigError
from llmcore.support.errors import raise_unchained
from llmcore.support.text import find_invisible
from llmcore.types import Secret
from llmcore_cache_redis.options import RedisOptions

__all__ = ["Address", "Target", "parse"]

Kind = Literal["standalone", "sentinel", "cluster"]
_SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "unix": ("standalone", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORT: Final = {"standalone": 6379, "sentinel": 26379, "cluster": 6379}
_PARAMETERS: Final = ("cluster", "db")
_LAST_PORT: Final = 65_535
_HOST: Final = re.compile(r"([\w-]+(\.[\w-]+)+(:\d{1,5})?|[\w-]+:\d{1,5}|localhost)(/\d+)?", re.ASCII)
"""Matches a host without a scheme.

A single word other than `localhost` does not match, because it may be a misplaced password, which errors must not show.
"""
_FIX: Final = 'llmcore config set cache.redis.url "redis://localhost:6379/0"'


class Address(NamedTuple):
    """The address of one server."""

    host: str
    """The host name, or the path of a Unix socket if the port is 0."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else self.host


@dataclass(frozen=True)
class Target:
    """A parsed address."""

    kind: Kind
    nodes: tuple[Address, ...]
    tls: bool
    db: int
    username: str | None
    password: Secret | None
    master: str
    """The name of the master, for Sentinels."""
    shown: str
    """The address without the password, for errors."""


class _Unreadable(Exception):
    def __init__(self, what: str, expected: str, near: str | None = None, address: str | None = None) -> None:
        super().__init__(what)
        self.what, self.expected, self.near = what, expected, near
        self.address = address
        """The address that the user probably meant, for the fix."""


def parse(options: RedisOptions) -> Target:
    """Parse the address and credentials in *options*.

    Raises:
        ConfigError: The address cannot be read.
    """
    try:
        return _parse_target(options)
    except _Unreadable as error:
        raise_unchained(
            ConfigError(
                f"the address of the Redis server cannot be read: {error.what}",
                where="[cache.redis] url",
                expected=error.expected,
                suggestion=error.near,
                fix=f"llmcore config set cache.redis.url {error.address}" if error.address else _FIX,
                notes=["in a password, write %40 for @, %2F for /, %3A for :, %23 for #"],
            )
        )


def _parse_target(options: RedisOptions) -> Target:
    scheme, rest = _split_scheme(options.url.strip())
    kind, tls = _SCHEMES[scheme]
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        raise_unchained(_Unreadable("its brackets do not close", "redis://[::1]:6379/0"))
    given = _parse_parameters(parts)
    if given.get("cluster", "").lower() in {"1", "true", "yes"}:
        kind = "cluster"
    user, _, hosts = parts.netloc.rpartition("@")
    if unseen := find_invisible(hosts):
        raise _Unreadable(f"its host contains {unseen}", "redis://host:port/0")
    if scheme == "unix":
        nodes: tuple[Address, ...] = (Address(hosts + unquote(parts.path), 0),)
        path: list[str] = []
        shown = f"unix://{nodes[0]}"
    else:
        nodes = tuple(_parse_node(text, _PORT[kind]) for text in hosts.split(",")) if hosts else ()
        path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
        shown = f"{scheme}://{','.join(map(str, nodes))}" + "".join(f"/{part}" for part in path)
    if not nodes or not nodes[0].host:
        raise _Unreadable("it names no server", "redis://host:port/0")
    master = _take_master(path) if kind == "sentinel" else ""
    name, _, password = user.partition(":")
    return Target(
        kind=kind,
        nodes=nodes,
        tls=tls,
        db=_parse_db(path, given, kind),
        username=options.username or unquote(name) or None,
        password=options.password or (Secret(unquote(password)) if password else None),
        master=master,
        shown=shown,
    )


def _split_scheme(url: str) -> tuple[str, str]:
    """Return the scheme of *url*, one of `_SCHEMES`, and the rest."""
    scheme, separator, rest = url.partition("://")
    if not separator and _HOST.fullmatch(url):
        meant = f"redis://{url}"
        raise _Unreadable(f"{url!r} has no scheme", meant, meant, meant)
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        near = get_close_matches(scheme, _SCHEMES, 1, 0.6)
        expected = "one of " + ", ".join(f"{name}://" for name in _SCHEMES)
        raise _Unreadable("it has an unknown scheme", expected, f"{near[0]}://" if near else None)
    return scheme, rest


def _parse_parameters(parts: SplitResult) -> dict[str, str]:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if set(given) - set(_PARAMETERS) or parts.fragment:
        raise _Unreadable("it has unknown parameters after ? or #", "?db=0 or ?cluster=true, or none")
    return given


def _take_master(path: list[str]) -> str:
    """Remove the name of the Sentinels' master from *path*, and return it."""
    if not path:
        raise _Unreadable("it does not say which master", "redis+sentinel://host:26379,host:26379/mymaster/0")
    return path.pop(0)


def _parse_node(text: str, default: int) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default)
    if not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
        raise _Unreadable("the port is not a number", f"a number from 1 to {_LAST_PORT}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _parse_db(path: list[str], given: dict[str, str], kind: Kind) -> int:
    text = given.get("db", path.pop(0) if path else "0")
    if path or not text.isdecimal():
        raise _Unreadable("the path must be the number of a database", "redis://host:port/0")
    if kind == "cluster" and int(text):
        raise _Unreadable("a Cluster has only the database 0", "redis+cluster://host:port")
    return int(text)
