"""The options of the cache `memcached`."""

from __future__ import annotations

from pathlib import Path

from llmcore.hookspecs import Options
from llmcore.types import Duration, Secret, Size

__all__ = ["MemcachedOptions"]


class MemcachedOptions(Options, frozen=True):
    """Options of `[cache.memcached]`."""

    servers: tuple[str, ...] = ("127.0.0.1:11211",)
    """`host:port`, `host` (port 11211), `[::1]:port` or `/path/of/a/socket`. Several servers share the keys."""
    username: str | None = None
    """User name for servers started with `--auth-file`."""
    password: Secret | None = None
    """Password for servers started with `--auth-file`."""
    namespace: str = "default"
    """Namespaces share the servers and are independent; `clear` empties one namespace."""
    timeout: Duration = Duration(0.05)
    """Maximum time without a byte from the server during a command."""
    connect_timeout: Duration = Duration(0.05)
    """Timeout for a new connection, including the TLS handshake."""
    max_idle_connections: int = 64
    """The maximum number of idle connections to each server."""
    max_value_bytes: Size = Size(10**6)
    """Maximum size of a value. It must be at least 1 KB below the server's item limit (`-I`, by default 1 MiB)."""
    tls: bool = False
    """True if connections use TLS."""
    tls_ca_file: Path | None = None
    """Certificates to trust in place of the system's certificates."""
    tls_cert_file: Path | None = None
    """Client certificate in PEM format; the key may be in the same file."""
    tls_key_file: Path | None = None
    """Key of the client certificate in PEM format."""
    tls_key_password: Secret | None = None
    """Password of the key, if it is encrypted."""
    tls_check_hostname: bool = True
    """True if the certificate must match the host in `servers`."""

    def __repr__(self) -> str:
        return f"MemcachedOptions(namespace={self.namespace!r}, timeout={float(self.timeout)!r})"
