"""A TCP proxy in front of a real server. A test makes it refuse connections, hold or cut answers, or answer nonsense."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final, Self
from urllib.parse import urlsplit

__all__ = ["TcpProxy"]

_BLOCK: Final = 65_536


class TcpProxy:
    """Forwards connections to *target* until a method makes the proxy fail. `heal` ends the failure.

    Args:
        target: The address of the server: "host:port", or a URL with a host and a port.

    Example: `with TcpProxy(server.url) as upstream: MyCache(url=f"redis://{upstream.address}")`.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target if "://" in target else f"//{target}")
        if not parts.hostname or not parts.port:
            raise ValueError(f"target must have a host and a port, got {target!r}")
        self._target = (parts.hostname, parts.port)
        self._changed = threading.Condition()
        self._closed = False
        self._refuses = False
        self._holds = False
        self._cut_after: int | None = None
        self._answer: bytes | None = None
        self._connections: set[_Connection] = set()
        self._sent = bytearray()
        self.accepted = 0
        """The number of accepted connections."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.refuse()

    @property
    def address(self) -> str:
        """The address of the proxy: "127.0.0.1:port"."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address for a client that speaks HTTP."""
        return f"http://{self.address}"

    def count(self, text: bytes) -> int:
        """Return how many times clients sent *text*, for example a value that they store."""
        with self._changed:
            return self._sent.count(text)

    def refuse(self) -> None:
        """Refuse connections and close those that are open, as if the server were gone."""
        with self._changed:
            self._refuses = True
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            connections = list(self._connections)
            self._changed.notify_all()
        for connection in connections:
            connection.close()

    def hold(self) -> None:
        """Hold back all answers until `heal`, which delivers them."""
        with self._changed:
            self._holds = True

    def cut(self, after: int) -> None:
        """Let *after* more bytes of answers pass to the client, then close each connection."""
        with self._changed:
            self._cut_after = after
            for connection in self._connections:
                connection.passed = 0

    def answer(self, data: bytes) -> None:
        """Answer each message with *data* in place of the server, and close the connection."""
        with self._changed:
            self._answer = data

    def heal(self) -> None:
        """End the failure: forward requests and answers again."""
        with self._changed:
            self._holds, self._cut_after, self._answer = False, None, None
            if self._refuses and not self._closed:
                self._refuses = False
                self._listener = socket.create_server(("127.0.0.1", self.port))
                threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
            self._changed.notify_all()

    # -- one connection

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            connection = _Connection(client, server)
            with self._changed:
                if self._refuses:
                    connection.close()
                    return
                self.accepted += 1
                self._connections.add(connection)
            for work in (self._pass_requests, self._pass_answers):
                threading.Thread(target=work, args=(connection,), daemon=True).start()

    def _pass_requests(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.client.recv(_BLOCK):
                with self._changed:
                    self._sent += data
                    answer = self._answer
                if answer is not None:
                    connection.client.sendall(answer)
                    return
                connection.server.sendall(data)
        self._forget(connection)

    def _pass_answers(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.server.recv(_BLOCK):
                with self._changed:
                    self._changed.wait_for(lambda: not self._holds or self._refuses)
                    after = self._cut_after
                    if after is not None:
                        data = data[: max(0, after - connection.passed)]
                    connection.passed += len(data)
                    is_cut = after is not None and connection.passed >= after
                connection.client.sendall(data)
                if is_cut:
                    return
        self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        connection.close()
        with self._changed:
            self._connections.discard(connection)


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.passed = 0
        """The number of bytes of answers that were forwarded since the last `cut`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both sides. A thread that waits for data of one side then ends."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
