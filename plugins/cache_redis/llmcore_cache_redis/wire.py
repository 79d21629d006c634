"""The arguments with which redis-py sets up a connection, and commands as bytes, for sync and async connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import hiredis
from redis.credentials import CredentialProvider

from llmcore.types import Secret
from llmcore_cache_redis.address import Address, Target
from llmcore_cache_redis.options import RedisOptions

__all__ = [
    "ConnectTimeouts",
    "Request",
    "ServerCommands",
    "extend_timeout",
    "make_connection_settings",
    "pack_command",
]

pack_command: Final[Callable[[tuple[bytes | str | int, ...]], bytes]] = cast("Any", hiredis.pack_command)
"""Return the bytes of a command."""
_SECONDS_A_BYTE: Final = 10**-8


class Request(NamedTuple):
    """Commands that one connection sends in one write."""

    payload: bytes
    expected: int
    """Number of replies."""


class ServerCommands(NamedTuple):
    """Commands for one server."""

    address: Address
    payload: bytes
    """One or more commands as bytes."""
    expected: int = 1
    """Number of replies."""
    timeout: float | None = None
    """Seconds for all replies; None for the timeout of the options."""
    sentinel: bool = False
    """True if the server is a Sentinel, which has another password and no database."""
    then: Callable[[list[Any]], Request] | None = None
    """For transactions: receives the replies, and returns the next commands for the same connection.

    The replies to the next commands are appended to the earlier replies.
    """


class ConnectTimeouts(NamedTuple):
    """Seconds for the two parts of a new connection."""

    tcp: float
    """Seconds for TCP, and without TLS also for the greeting."""
    tls: float
    """Seconds for the TLS handshake and the greeting; 0 without TLS."""

    @property
    def whole(self) -> float:
        """Seconds for the whole connection."""
        return self.tcp + self.tls


class _Credentials(CredentialProvider):
    """Credentials that hide the password until it is sent."""

    def __init__(self, username: str | None, password: Secret) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password.reveal()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(
        self,
    ) -> tuple[str] | tuple[str, str]:  # defined here, because the method of redis-py logs a warning
        return self.get_credentials()


def make_connection_settings(
    target: Target, options: RedisOptions, commands: ServerCommands
) -> dict[str, Any]:
    """Return the arguments with which redis-py connects to the server of *commands*."""
    name, password = target.username, target.password
    if commands.sentinel:
        name, password = options.sentinel_username, options.sentinel_password
    made: dict[str, Any] = {
        "protocol": 3,
        "db": 0 if commands.sentinel else target.db,
        "driver_info": None,  # saves the round trips that send the name of the library to the server
    }
    if name or password is not None:
        made["credential_provider"] = _Credentials(name, password or Secret(""))
    if not commands.address.port:
        return {**made, "path": commands.address.host}
    return {**made, "host": commands.address.host, "port": commands.address.port}


def extend_timeout(timeout: float, size: int) -> float:
    """Return *timeout* plus the seconds that the transfer of *size* bytes may take."""
    return timeout + size * _SECONDS_A_BYTE
