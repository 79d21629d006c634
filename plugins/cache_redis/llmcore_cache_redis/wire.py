"""What both colours of connection share: how one is set up, commands as bytes, and the words for what breaks."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import hiredis
from redis.credentials import CredentialProvider
from redis.exceptions import TimeoutError as RedisTimeoutError

from llmcore.types import Secret
from llmcore_cache_redis.address import Address, Target
from llmcore_cache_redis.faults import Broken, ReplyError
from llmcore_cache_redis.plugin import RedisOptions

__all__ = ["Step", "broken", "command", "settings", "slower"]

command: Final[Callable[[tuple[bytes | str | int, ...]], bytes]] = cast("Any", hiredis.pack_command)
"""Return the bytes of a command."""
_SECONDS_A_BYTE: Final = 10**-8


class Step(NamedTuple):
    """Something to be asked of one server."""

    address: Address
    payload: bytes
    """One or more commands, one behind the other."""
    expected: int = 1
    """How many replies that makes."""
    timeout: float | None = None
    """Seconds for all of them; None for those of the options."""
    sentinel: bool = False
    """Whether the server is a Sentinel, with a password and no database of its own."""


class _Credentials(CredentialProvider):
    """Keeps the password hidden until it is sent."""

    def __init__(self, username: str | None, password: Secret) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password.reveal()
        return (self._username, password) if self._username else (password,)


def settings(target: Target, options: RedisOptions, step: Step) -> dict[str, Any]:
    """Return the arguments of redis-py's connection to the server of *step*."""
    password = options.sentinel_password if step.sentinel else target.password
    made: dict[str, Any] = {
        "protocol": 3,
        "db": 0 if step.sentinel else target.db,
        "driver_info": None,  # no round trips to name the library
    }
    if password is not None:
        name = None if step.sentinel else target.username
        made["credential_provider"] = _Credentials(name, password)
    if not step.address.port:
        return {**made, "path": step.address.host}
    made |= {"host": step.address.host, "port": step.address.port}
    if target.tls:
        made |= {"ssl_check_hostname": options.tls_check_hostname}
        if options.tls_ca_file is not None:
            made["ssl_ca_certs"] = str(options.tls_ca_file)
    return made


def slower(timeout: float, size: int) -> float:
    """Return how long *size* bytes may take."""
    return timeout + size * _SECONDS_A_BYTE


def broken(error: BaseException, where: Address) -> Broken | ReplyError:
    """Return what *error*, raised while a connection was made or used, means."""
    if isinstance(error, Broken | ReplyError):
        return error
    link: BaseException | None = error
    while link is not None:  # redis-py keeps the system's own error behind its own
        words = _words(link)
        if words:
            return Broken(f"{where} {words}")
        link = link.__cause__ or link.__context__
    closed = "closed by server" in str(error).lower()
    return Broken(f"{where} {'closed the connection' if closed else f'failed: {type(error).__name__}'}")


def _words(error: BaseException) -> str:
    """Return what the system says, or nothing. The text of an error is not told: it may hold what was sent."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return "was silent for too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"does not speak TLS as it should: {error.reason}"
    if isinstance(error, socket.gaierror):
        return "has a name that is not known"
    return f"failed: {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else ""
