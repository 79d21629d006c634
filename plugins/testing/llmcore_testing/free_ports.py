"""Find a port for a server that a test starts."""

from __future__ import annotations

import random
import socket
from typing import Final

__all__ = ["find_free_port"]

_PORTS: Final = range(11_000, 22_000)
_BUS: Final = 10_000
"""The bus of a Redis Cluster uses the server's port plus this number."""
_chance: Final = random.SystemRandom()


def find_free_port() -> int:
    """Return a free port of 127.0.0.1 whose bus port for a Redis Cluster is free too.

    The port stays free until the server starts, and while the server restarts, because the operating system gives
    outgoing connections ports with higher numbers.
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
