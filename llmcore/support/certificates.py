"""Check the certificates that the environment names, because the errors of TLS libraries do not name the variable."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from llmcore.errors import ConfigError

__all__ = ["check_certificates"]


def check_certificates() -> None:
    """Raise ConfigError if SSL_CERT_FILE or SSL_CERT_DIR names certificates that cannot be loaded.

    Call this function only if TLS is used: a server on http:// needs no certificates.
    """
    file = os.environ.get("SSL_CERT_FILE")
    if file:
        if fault := _find_fault(file):
            raise _make_error("SSL_CERT_FILE", f"{file!r} {fault}", "a file of certificates in PEM format")
        return  # the clients then ignore SSL_CERT_DIR
    folder = os.environ.get("SSL_CERT_DIR")
    if folder and not any(Path(each).is_dir() for each in folder.split(os.pathsep)):
        raise _make_error(
            "SSL_CERT_DIR", f"{folder!r} is not a directory", "a directory of hashed certificates"
        )


def _find_fault(file: str) -> str:
    """Return a description of the fault of the file; empty if it has none."""
    try:
        ssl.create_default_context(cafile=file)
    except FileNotFoundError:
        return "does not exist"
    except ssl.SSLError:
        return "contains no certificates in PEM format"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
    return ""


def _make_error(variable: str, what: str, expected: str) -> ConfigError:
    return ConfigError(
        f"{variable} must name the certificates to trust: {what}",
        code="LC203",
        where=variable,
        expected=expected,
        notes=(f"without the variable, the certificates of the system are used: unset {variable}",),
    )
