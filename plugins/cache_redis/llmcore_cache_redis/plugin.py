"""Offers the cache `redis`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Duration, Secret, Size

if TYPE_CHECKING:
    from llmcore_cache_redis.provider import RedisCache

__all__ = ["LLMCORE_API", "RedisOptions"]

LLMCORE_API = 1


class RedisOptions(Options, frozen=True):
    """Options of `[cache.redis]`."""

    url: str = "redis://localhost:6379/0"
    """`redis://`, `rediss://` (TLS) or `unix://`; `redis+sentinel://host:port,host:port/name/0`, `redis+cluster://`."""
    username: str | None = None
    """Before one in the address."""
    password: Secret | None = None
    """Before one in the address, which is as secret."""
    sentinel_password: Secret | None = None
    """Of the Sentinels themselves, where they ask for one."""
    namespace: str = "default"
    """Entries of different namespaces share the server and never meet; `clear` empties one namespace."""
    timeout: Duration = Duration(0.05)
    """Seconds for one command; a value of several MB gets 10 ms more for each."""
    connect_timeout: Duration = Duration(0.05)
    """Seconds for a new connection, TLS and password included."""
    max_connections: int = 64
    """To one server, and for each event loop apart."""
    max_value: Size = Size(16 * 10**6)
    """Bytes; a larger value is neither written nor fetched."""
    tls_ca_file: Path | None = None
    """Certificates to trust in place of the system's own."""
    tls_check_hostname: bool = True
    """Whether the certificate must be of the host in the address."""

    def __repr__(self) -> str:
        return f"RedisOptions(namespace={self.namespace!r}, timeout={float(self.timeout)!r})"


def create(options: RedisOptions) -> RedisCache:
    """Return the cache of these options; nothing is connected yet."""
    from llmcore_cache_redis.provider import RedisCache

    return RedisCache(options)


@hookimpl
def llmcore_cache_providers() -> Iterable[Provider]:
    """Offer `redis`."""
    yield Provider(name="redis", options=RedisOptions, create=create)
