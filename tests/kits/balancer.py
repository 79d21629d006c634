"""A TCP load balancer for several gateways: round robin over those whose health check reports that they are ready."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final, Self

__all__ = ["Balancer"]

_BLOCK: Final = 65_536
_INTERVAL_S: Final = 0.05
"""The pause between two health checks."""
_PATIENCE_S: Final = 110.0


class Balancer:
    """Passes each connection on to the next ready replica.

    A replica is taken out when `/health/ready` does not answer 200 or a connection is refused, and taken in again when
    it answers 200. Connections that are open stay open.

    Args:
        ports: Where the replicas listen on 127.0.0.1.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = tuple(ports)
        self._turns = itertools.count()
        self._changed = threading.Condition()
        self._ready: set[int] = set()
        self._open = dict.fromkeys(ports, 0)
        self.accepted = dict.fromkeys(ports, 0)
        """Port -> number of connections that the replica has accepted."""
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        for work in (self._accept, self._check_health):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def wait_until_in(self, *ports: int) -> None:
        """Wait until the replicas get connections."""
        self._wait_for(lambda: self._ready.issuperset(ports))

    def wait_until_out(self, port: int) -> None:
        """Wait until the replica gets no connections, and has none."""
        self._wait_for(lambda: port not in self._ready and not self._open[port])

    def _wait_for(self, holds: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, _PATIENCE_S), f"ready: {self._ready}, open: {self._open}"

    def _check_health(self) -> None:
        while not self._closed.wait(_INTERVAL_S):
            for port in self._ports:
                is_ready = _is_ready(port)
                with self._changed:
                    (self._ready.add if is_ready else self._ready.discard)(port)
                    self._changed.notify_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client:
            port, server = self._connect()
            try:
                with server:
                    answers = threading.Thread(target=_copy_answers, args=(server, client), daemon=True)
                    answers.start()
                    _copy(client, server)
                    answers.join()
            finally:
                self._leave(port)

    def _connect(self) -> tuple[int, socket.socket]:
        """Connect to the next replica that is ready. If none is, wait for one."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready)
                ready = [port for port in self._ports if port in self._ready]
                port = ready[next(self._turns) % len(ready)]
                self._open[port] += 1
            try:
                server = socket.create_connection(("127.0.0.1", port))
            except OSError:
                with self._changed:
                    self._ready.discard(port)
                self._leave(port)
                continue
            with self._changed:
                self.accepted[port] += 1
            return port, server

    def _leave(self, port: int) -> None:
        with self._changed:
            self._open[port] -= 1
            self._changed.notify_all()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := source.recv(_BLOCK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _copy_answers(server: socket.socket, client: socket.socket) -> None:
    """Copy until the server ends the connection, and end it for the client."""
    _copy(server, client)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RD)
