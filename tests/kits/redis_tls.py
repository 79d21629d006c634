"""Redis over TLS for tests: certificates, a server that asks for those of its clients, and a proxy that delays connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import trustme

from llmcore_testing.redis_server import RedisServer

__all__ = ["Certificates", "DelayingProxy", "TLSServer", "make_certificates", "redis_over_tls"]

_PIECE_BYTES: Final = 2**16


class Certificates(NamedTuple):
    """Files in PEM format, all signed by one authority; server and client certificates are for `localhost`."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


class TLSServer(NamedTuple):
    """A running server."""

    plain: RedisServer
    """The same server without TLS, for a test's own commands."""
    port: int
    """The address with TLS."""
    certificates: Certificates

    @property
    def url(self) -> str:
        """The address."""
        return f"rediss://localhost:{self.port}/0"

    @property
    def options(self) -> dict[str, Any]:
        """The options that a client needs."""
        files = self.certificates
        return {"tls_ca_file": files.ca, "tls_cert_file": files.client, "tls_key_file": files.client_key}


def make_certificates(folder: Path) -> Certificates:
    """Write an authority, and a server and a client certificate of it, into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("ca", "server", "server-key", "client", "client-key")
    files = Certificates(*(folder / f"{name}.pem" for name in names))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(files.ca))
    for certificate, key in ((files.server, files.server_key), (files.client, files.client_key)):
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(certificate))
    return files


@contextmanager
def redis_over_tls(folder: Path, *, clients: str = "yes", **settings: str) -> Iterator[TLSServer]:
    """Start a server that speaks TLS on one port and plain text on another.

    Args:
        folder: For its files.
        clients: Whether clients must show a certificate: "yes", "no", "optional".
        settings: More settings; see `RedisServer`.
    """
    files = make_certificates(folder / "certificates")
    port = RedisServer(folder).port
    tls: dict[str, Any] = {
        "tls_port": str(port),
        "tls_cert_file": str(files.server),
        "tls_key_file": str(files.server_key),
        "tls_ca_cert_file": str(files.ca),
        "tls_auth_clients": clients,
    }
    with RedisServer(folder, **(tls | settings)) as server:
        yield TLSServer(server, port, files)


class DelayingProxy:
    """Passes TCP connections on to a port of this machine; some of them late.

    Args:
        port: Where the server listens.
        delay: Given the number of a connection, from 0, returns after how many seconds its first byte is passed on. It may
            wait, too: each connection has a thread.
    """

    def __init__(self, port: int, delay: Callable[[int], float]) -> None:
        self._to = port
        self._delay = delay
        self._closing = threading.Event()
        self._sockets = ExitStack()
        self.accepted = 0

    def __enter__(self) -> Self:
        self._listener = self._sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections, those too that wait."""
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._sockets.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.enter_context(client)
            threading.Thread(target=self._serve, args=(client, self.accepted), daemon=True).start()
            self.accepted += 1

    def _serve(self, client: socket.socket, number: int) -> None:
        delay = self._delay(number)
        if delay and self._closing.wait(delay):
            return
        try:
            server = self._sockets.enter_context(socket.create_connection(("127.0.0.1", self._to)))
        except OSError:
            client.close()
            return
        threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
        _pass_on(client, server)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_PIECE_BYTES):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
