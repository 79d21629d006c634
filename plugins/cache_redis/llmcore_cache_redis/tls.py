"""TLS settings of `[cache.redis]`: one context for every connection, built again when a certificate is renewed.

Connections share the context, because creating one reads the system's certificates and takes as much CPU time
as ten handshakes.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final, NamedTuple, cast

from llmcore.errors import ConfigError
from llmcore.support import forks
from llmcore.support.certificates import check_certificates
from llmcore.support.path_kinds import PathKind, classify_path
from llmcore_cache_redis.options import RedisOptions

__all__ = ["TLS"]

_PEM_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_PEM_KEY: Final = b"PRIVATE KEY-----"


class TLS:
    """Builds the TLS context that the options describe.

    Raises:
        ConfigError: A file is missing, is not in PEM format, or does not match another file.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._lock = forks.lock()
        self._versions = self._read_versions()
        self._context = _build(options)

    @property
    def has_certificate(self) -> bool:
        """True if a client certificate is shown to the server."""
        return self._options.tls_cert_file is not None

    def get_context(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        While files are being replaced and do not match each other, the previous context is returned.
        """
        versions = self._read_versions()
        if versions != self._versions:
            with self._lock:
                if versions != self._versions:
                    try:
                        self._context, self._versions = _build(self._options), versions
                    except ConfigError:
                        return self._context
        return self._context

    def _read_versions(self) -> tuple[object, ...]:
        return tuple(_get_version(path) for _, path in _list_files(self._options))


class _Fault(NamedTuple):
    name: str
    must: str
    path: Path | None
    state: str = ""


def _list_files(options: RedisOptions) -> list[tuple[str, Path]]:
    """Return the configured files, each with the name of its option."""
    named = (
        ("tls_ca_file", options.tls_ca_file),
        ("tls_cert_file", options.tls_cert_file),
        ("tls_key_file", options.tls_key_file),
    )
    return [(name, Path(path)) for name, path in named if path is not None]


def _get_version(path: Path) -> object:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size


def _build(options: RedisOptions) -> ssl.SSLContext:
    if options.tls_ca_file is None:
        check_certificates()
    fault = _find_unreadable(options)
    if fault is None:
        context = _load_trust(options)
        fault = _show_certificate(context, options) if isinstance(context, ssl.SSLContext) else context
        if fault is None:
            return cast("ssl.SSLContext", context)
    # outside of all `except` blocks, so that no foreign exception is chained to ours
    raise ConfigError(
        f"{fault.name} must be {fault.must}, got {fault.path and str(fault.path)!r}{fault.state}",
        code="LC203",
        where=f"{fault.name} in [cache.redis]",
        expected=fault.must,
        fix=f"llmcore config set cache.redis.{fault.name} PATH",
    )


def _find_unreadable(options: RedisOptions) -> _Fault | None:
    if options.tls_key_file is not None and options.tls_cert_file is None:
        return _Fault("tls_cert_file", "the certificate of the key in tls_key_file", None)
    for name, path in _list_files(options):
        kind = classify_path(path)
        if kind is PathKind.FILE and not os.access(path, os.R_OK):
            return _Fault(name, "a file that can be read", path, ", which this user may not read")
        if kind is not PathKind.FILE:
            return _Fault(name, "a file that can be read", path, f", which is {kind.value}")
    return None


def _load_trust(options: RedisOptions) -> ssl.SSLContext | _Fault:
    file = options.tls_ca_file
    try:
        context = ssl.create_default_context(cafile=None if file is None else os.fspath(file))
    except (OSError, ValueError):
        if file is None:
            raise
        return _Fault("tls_ca_file", "a file of certificates in PEM format", file)
    context.check_hostname = options.tls_check_hostname
    return context


def _show_certificate(context: ssl.SSLContext, options: RedisOptions) -> _Fault | None:
    certificate = options.tls_cert_file
    if certificate is None:
        return None
    certificate, key = Path(certificate), Path(options.tls_key_file or certificate)
    password_was_needed = False

    def give_password() -> str:  # without this function, OpenSSL would ask at the terminal
        nonlocal password_was_needed
        password_was_needed = True
        return options.tls_key_password.reveal() if options.tls_key_password else ""

    try:
        context.load_cert_chain(certificate, key, give_password)
    except ssl.SSLError as error:
        reason = error.reason
    except (OSError, ValueError):
        reason = None
    else:
        return None
    name, path, must = "tls_key_file" if options.tls_key_file else "tls_cert_file", key, ""
    if not _contains(certificate, _PEM_CERTIFICATE):
        name, path, must = "tls_cert_file", certificate, "a file that holds a certificate in PEM format"
    elif not _contains(key, _PEM_KEY):
        must = "a file that holds a private key in PEM format"
    elif reason == "KEY_VALUES_MISMATCH":
        must = "the key of the certificate in tls_cert_file"
    elif password_was_needed:
        must = f"a key whose tls_key_password is {'right' if options.tls_key_password else 'given'}"
    else:
        must = "a key that OpenSSL can use, with its certificate"
    return _Fault(name, must, path)


def _contains(path: Path, mark: bytes) -> bool:
    try:
        return mark in path.read_bytes()
    except OSError:
        return False
