"""The TLS settings of `[cache.memcached]`."""

from __future__ import annotations

import ssl
from pathlib import Path
from socket import socket
from typing import Final

from llmcore.errors import ConfigError
from llmcore.support.certificates import check_certificates
from llmcore.support.errors import raise_unchained
from llmcore_cache_memcached.options import MemcachedOptions

__all__ = ["HostContext", "build_context"]

_FILES: Final = ("tls_ca_file", "tls_cert_file", "tls_key_file")


class HostContext:
    """Encrypts connections to one host, and checks its certificate against the host's name.

    pymemcache alone would check the certificate against the IP address.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._context = context
        self._host = host

    def wrap_socket(self, sock: socket, *, server_hostname: str) -> ssl.SSLSocket:
        """See `ssl.SSLContext.wrap_socket`."""
        del server_hostname
        return self._context.wrap_socket(sock, server_hostname=self._host)


def build_context(options: MemcachedOptions) -> ssl.SSLContext | None:
    """Return the context; None without TLS.

    Raises:
        ConfigError: A file is missing or has the wrong content.
    """
    if not options.tls:
        return None
    if options.tls_ca_file is None:
        check_certificates()
    name = "tls_ca_file"
    try:
        context = ssl.create_default_context(cafile=options.tls_ca_file and str(options.tls_ca_file))
        context.check_hostname = options.tls_check_hostname
        if options.tls_cert_file is not None:
            name = "tls_cert_file"
            password = options.tls_key_password.reveal() if options.tls_key_password else ""
            # A password is always given: otherwise OpenSSL asks at the terminal.
            context.load_cert_chain(options.tls_cert_file, options.tls_key_file, lambda: password)
    except (OSError, ValueError) as error:
        for each in _FILES:
            path = getattr(options, each)
            if path is not None and not Path(path).is_file():
                name = each
                break
        reason = (
            error.strerror or "" if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else ""
        )
        raise_unchained(_make_error(options, name, reason))
    return context


def _make_error(options: MemcachedOptions, name: str, reason: str) -> ConfigError:
    must = {
        "tls_ca_file": "a file of certificates in PEM format",
        "tls_cert_file": "a certificate in PEM format whose key is in the same file or in tls_key_file;"
        " tls_key_password must open an encrypted key",
        "tls_key_file": "a key in PEM format",
    }[name]
    path = getattr(options, name)
    return ConfigError(
        f"{name} must be {must}, got {str(path)!r}" + (f" ({reason})" if reason else ""),
        code="LC203",
        where=f"{name} in [cache.memcached]",
        expected=must,
        fix=f"llmcore config set cache.memcached.{name} PATH",
    )
