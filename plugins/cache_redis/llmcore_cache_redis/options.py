"""The options of the cache `redis`, and of rate limits on Redis."""

from __future__ import annotations

from pathlib import Path

from llmcore.hookspecs import Options
from llmcore.types import Duration, Secret, Size

__all__ = ["RedisOptions"]


class RedisOptions(Options, frozen=True):
    """Options of `[cache.redis]` and `[limits.shared]`."""

    url: str = "redis://localhost:6379/0"
    """`redis://`, `rediss://` (TLS) or `unix://`; `redis+sentinel://host:port,host:port/name/0`, `redis+cluster://`."""
    username: str | None = None
    """Overrides the user name in the address."""
    password: Secret | None = None
    """Overrides a password in `url`. A password in `url` is hidden in output too."""
    sentinel_username: str | None = None
    """User name for the Sentinels, if they have users."""
    sentinel_password: Secret | None = None
    """Password for the Sentinels, if they require one."""
    namespace: str = "default"
    """The namespace of the entries.

    Namespaces share the server but not their entries; `clear` empties one namespace.
    """
    timeout: Duration = Duration(0.05)
    """Seconds for one command, plus 10 ms for each MB of the value."""
    connect_timeout: Duration = Duration(0.05)
    """Seconds for TCP and, without TLS, for the check of the password. With TLS, `tls_timeout` limits the
    handshake and the password."""
    tls_timeout: Duration = Duration(0.5)
    """Seconds for the TLS handshake and the check of the password, after TCP is connected."""
    limit_timeout: Duration = Duration(0.5)
    """Seconds for one command of the rate limits, and for a new connection for these commands.

    If no answer arrives, this process uses its share (each limit divided by the number of processes) until the store
    answers again. Shares are less exact than shared limits, so the default is longer than that of `timeout`.
    """
    max_connections: int = 64
    """Maximum connections to one server, per process and event loop."""
    max_value: Size = Size(16 * 10**6)
    """Maximum size of a value in bytes; a larger value is neither written nor read."""
    tls_ca_file: Path | None = None
    """Certificates to trust in place of the system's certificates."""
    tls_cert_file: Path | None = None
    """Client certificate in PEM format; the key may be in the same file."""
    tls_key_file: Path | None = None
    """Key of the client certificate in PEM format."""
    tls_key_password: Secret | None = None
    """Password of the key, if it is encrypted."""
    tls_check_hostname: bool = True
    """True if the certificate must match the host in the address."""

    def __repr__(self) -> str:
        return f"RedisOptions(namespace={self.namespace!r}, timeout={float(self.timeout)!r})"
