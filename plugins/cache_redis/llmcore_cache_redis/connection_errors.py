"""Translate the exceptions of a connection that was not made or was lost: TCP, TLS, certificates, or the greeting.

Of a foreign error, only fields without data of a request are shown, such as `verify_message`.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final, Literal, NamedTuple

import hiredis
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

from llmcore.support.errors import list_causes
from llmcore_cache_redis.address import Address
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.tls import TLS

__all__ = ["Attempt", "Phase", "translate_error"]

Phase = Literal["tcp", "tls", "greeting", "ready"]
"""The stage of a connection: `greeting` is HELLO, AUTH and SELECT; a `ready` connection carries commands."""


class Attempt(NamedTuple):
    """The connection attempt during which an error was raised."""

    address: Address
    phase: Phase
    tls: TLS | None = None

    @property
    def offers_certificate(self) -> bool:
        """True if the connection offers a client certificate."""
        return self.tls is not None and self.tls.has_certificate


class _Cause(NamedTuple):
    text: str
    """The rest of the sentence that begins with the server's address."""
    expected: str | None = None
    fix: str | None = None


_USE_CERTIFICATE: Final = "llmcore config set cache.redis.tls_cert_file PATH"
_USE_CA: Final = "llmcore config set cache.redis.tls_ca_file PATH"
_HOSTNAME_MISMATCH: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""
_WRONG_TIME: Final = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_WANTS_CERTIFICATE: Final = ("ALERT_CERTIFICATE_REQUIRED", "ALERT_HANDSHAKE_FAILURE")
_REFUSES_CERTIFICATE: Final = ("UNKNOWN_CA", "CERTIFICATE", "ACCESS_DENIED", "DECRYPT_ERROR")
_NOT_TLS: Final = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
)
_CLOSED: Final = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, ssl.SSLEOFError, ssl.SSLZeroReturnError, EOFError)  # fmt: skip


def translate_error(error: BaseException, attempt: Attempt) -> Broken | ReplyError:
    """Return the fault for *error*, which was raised while a connection was established or used."""
    if isinstance(error, Broken | ReplyError):
        return error
    cause = _find_cause(error, attempt)
    slow = attempt.phase != "ready" and _is_timeout(error)
    return Broken(f"{attempt.address} {cause.text}", expected=cause.expected, fix=cause.fix, slow=slow)


def _find_cause(error: BaseException, attempt: Attempt) -> _Cause:
    for each in list_causes(error):
        cause = _name_cause(each, attempt)
        if cause is not None:
            return cause
    return _Cause(f"failed: {type(error).__name__}")


def _is_timeout(error: BaseException) -> bool:
    return any(isinstance(each, TimeoutError | RedisTimeoutError) for each in list_causes(error))


def _name_cause(error: BaseException, attempt: Attempt) -> _Cause | None:
    cause = None
    if isinstance(error, TimeoutError | RedisTimeoutError):
        cause = _explain_timeout(attempt)
    elif isinstance(error, ssl.SSLCertVerificationError):
        cause = _explain_certificate(error)
    elif isinstance(error, _CLOSED) or "closed by server" in str(error).lower():
        cause = _explain_close(attempt)
    elif isinstance(error, ssl.SSLError):
        cause = _explain_alert(error, attempt)
    elif isinstance(error, socket.gaierror):
        cause = _Cause("has a name that is not known")
    elif isinstance(error, InvalidResponse | hiredis.ProtocolError):
        cause = _explain_protocol(attempt)
    elif isinstance(error, OSError) and error.errno:
        cause = _Cause(f"failed: {os.strerror(error.errno)}")
    return cause


def _explain_timeout(attempt: Attempt) -> _Cause:
    if attempt.phase == "tcp":
        return _Cause("did not accept a connection in time", "a connection within `connect_timeout`")
    if attempt.phase == "tls":
        return _Cause(
            "did not finish the TLS handshake in time: it is slow, or this port does not use TLS",
            "a TLS handshake within `tls_timeout` of [cache.redis], or redis:// for a port without TLS",
        )
    return _Cause("was silent for too long")


def _explain_certificate(error: ssl.SSLCertVerificationError) -> _Cause:
    text = f"has a certificate that is not trusted: {error.verify_message.rstrip('.')}"
    if error.verify_code in _HOSTNAME_MISMATCH:
        return _Cause(
            text,
            "an address with a host name of the certificate",
            "llmcore config set cache.redis.tls_check_hostname false",
        )
    if error.verify_code in _WRONG_TIME:
        return _Cause(text, "a certificate that is valid now, and a clock that is right")
    return _Cause(text, "the certificate of the authority that signed it, in `tls_ca_file`", _USE_CA)


def _explain_close(attempt: Attempt) -> _Cause:
    """Explain a connection that the server closed. The server's reason is often lost."""
    if attempt.phase in {"tcp", "ready"}:
        return _Cause("closed the connection")
    if attempt.tls is None:
        return _Cause(
            "closed the connection at the greeting, as a port that uses TLS does",
            "rediss:// in the address, for a port that uses TLS",
            f"redis-cli -h {attempt.address.host} -p {attempt.address.port} --tls --insecure ping",
        )
    if attempt.phase == "tls":
        return _Cause(
            "closed the connection during the TLS handshake: this port may not use TLS",
            "a port that uses TLS, or redis:// in the address",
        )
    return _explain_client_certificate(attempt, told=False)


def _explain_alert(error: ssl.SSLError, attempt: Attempt) -> _Cause:
    reason = (error.reason or "").upper()
    if any(word in reason for word in _WANTS_CERTIFICATE) and not attempt.offers_certificate:
        return _explain_client_certificate(attempt, told=True)
    if "ALERT" in reason and any(word in reason for word in _REFUSES_CERTIFICATE):
        return _explain_client_certificate(attempt, told=True)
    if any(word in reason for word in _NOT_TLS):
        return _Cause("does not use TLS on this port", "a port that uses TLS, or redis:// in the address")
    return _Cause(f"failed the TLS handshake: {reason.replace('_', ' ').lower() or 'no reason was given'}")


def _explain_client_certificate(attempt: Attempt, *, told: bool) -> _Cause:
    """Explain a fault of the client certificate.

    If *told*, the server sent an alert about the certificate, so the fault is certain. Otherwise the fault is
    probable.
    """
    closed = "closed the connection after the TLS handshake"
    if attempt.offers_certificate:
        text = (
            "rejects the client certificate"
            if told
            else f"{closed}: it may have rejected the client certificate"
        )
        expected = "a certificate in `tls_cert_file` that an authority of the server signed"
    else:
        text = "requires a client certificate" if told else f"{closed}: it may require a client certificate"
        expected = "`tls_cert_file` and `tls_key_file` in [cache.redis]"
    return _Cause(text, expected, _USE_CERTIFICATE)


def _explain_protocol(attempt: Attempt) -> _Cause:
    if attempt.tls is not None or attempt.phase == "ready":
        return _Cause("does not speak the protocol of Redis")
    return _Cause(
        "does not speak the protocol of Redis on this port; it may use TLS",
        "a Redis server, and rediss:// in the address for a port that uses TLS",
    )
