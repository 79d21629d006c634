"""Translate exceptions of pymemcache, sockets and TLS to errors of llmcore.

No error shows a key, a value or a password.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
)

from llmcore.errors import CacheError, CacheUnavailable

__all__ = ["is_stale", "make_too_large", "translate_error"]

_FIX_SERVERS: Final = "llmcore config set cache.memcached.servers '[\"HOST:PORT\"]'"
_FIX_TIMEOUT: Final = "llmcore config set cache.memcached.timeout 200ms"


def make_too_large(size: int, limit: int) -> CacheError:
    """Return the error for a value of *size* bytes, which is more than *limit*."""
    return CacheError(
        f"a value of {size:,} bytes is too large for memcached: at most {limit:,} bytes are stored (max_value_bytes)",
        where="max_value_bytes in [cache.memcached]",
        notes=("start the servers with a larger -I first, for example: memcached -I 16m",),
        fix=f"llmcore config set cache.memcached.max_value_bytes {size + size // 4}",
    )


def is_stale(error: BaseException) -> bool:
    """Return whether *error* means that the server was restarted or has closed an idle connection."""
    return isinstance(error, MemcacheUnexpectedCloseError | ConnectionError) and not isinstance(
        error, ConnectionRefusedError
    )


def translate_error(error: Exception, server: str, *, tls: bool, timeout_s: float, size: int) -> CacheError:
    """Return the error for a failed command.

    Args:
        error: The exception that pymemcache raised.
        server: The address.
        tls: True if the connection uses TLS.
        timeout_s: The timeout, for the text of the error.
        size: The size in bytes of the value to write; 0 if the command writes no value.
    """
    if isinstance(error, MemcacheUnexpectedCloseError | ConnectionResetError):
        hint = "" if tls else ", as a port that uses TLS does"
        return _make_unavailable_error(server, f"it closed the connection{hint}", None)
    if not isinstance(error, OSError):
        return _explain_refusal(error, server, size)
    what, fix = _describe_os_error(error, timeout_s)
    return _make_unavailable_error(server, what, fix)


def _describe_os_error(error: OSError, timeout_s: float) -> tuple[str, str]:
    """Return a description of the connection's failure, and the fix."""
    if isinstance(error, TimeoutError):
        return f"it was silent for {timeout_s:g} s", _FIX_TIMEOUT
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "llmcore config set cache.memcached.tls_ca_file PATH"
        return f"its certificate is not trusted: {error.verify_message}", fix
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no TLS on this port").replace("_", " ").lower()
        return f"the TLS handshake failed: {reason}", "llmcore config set cache.memcached.tls false"
    if isinstance(error, socket.gaierror):
        return "its host name is not known", _FIX_SERVERS
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno), _FIX_SERVERS
    return type(error).__name__, _FIX_SERVERS


def _explain_refusal(error: Exception, server: str, size: int) -> CacheError:
    text = _get_text(error)
    if isinstance(error, MemcacheClientError | MemcacheServerError) and "auth" in text:
        return CacheError(
            f"memcached at {server} requires a user name and a password: {text}",
            where="[cache.memcached]",
            fix="llmcore config set cache.memcached.password env:MEMCACHED_PASSWORD",
        )
    if isinstance(error, MemcacheServerError) and "too large" in text:
        return CacheError(
            f"a value of {size:,} bytes is too large for memcached at {server}: {text}",
            where="max_value_bytes in [cache.memcached]",
            notes=("start the server with a larger -I, for example: memcached -I 16m",),
            fix=f"llmcore config set cache.memcached.max_value_bytes {max(1, size * 3 // 4)}",
        )
    if isinstance(error, MemcacheServerError) and "memory" in text:
        return CacheError(
            f"memcached at {server} is out of memory: {text}",
            notes=("start the server with a larger -m, and without -M, which forbids eviction",),
        )
    if isinstance(error, MemcacheClientError | MemcacheServerError):
        return CacheError(f"memcached at {server} refused a command: {text}")
    return _make_unavailable_error(
        server, "the server at this address does not speak the protocol of memcached", _FIX_SERVERS
    )


def _make_unavailable_error(server: str, what: str, fix: str | None) -> CacheUnavailable:
    return CacheUnavailable(f"memcached at {server} cannot be reached: {what}", fix=fix)


def _get_text(error: Exception) -> str:
    """Return the server's message, which pymemcache passes on as bytes."""
    if not isinstance(error, MemcacheError) or not error.args:
        return ""
    said = error.args[0]
    text = said.decode("ascii", "replace") if isinstance(said, bytes) else str(said)
    return text[:100].strip()
