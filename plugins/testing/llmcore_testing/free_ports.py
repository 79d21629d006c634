"""Find a port for a server that a test starts."""

from __future__ import annotations

import random
import socket
from typing import Final

__all__ = ["find_free_port"]

_PORTS: Final = range(11_000, 22_000)
_BUS: Final = 10_000
"""Redis uses the port with this distance for the bus of a cluster."""
_chance: Final = random.SystemRandom()


def find_free_port() -> int:
    """Return a free port of 127.0.0.1, whose bus port is free too.

    Systems take the ports of connections from higher numbers, so no connection gets the port before the server
    starts, or while it restarts.
    """
    while True:
        port = _chance.choice(_PORTS)
        if _is_free(port) and _is_free(port + _BUS):
            return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
