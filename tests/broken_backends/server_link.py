"""A small server, a correct client of it, and the fixtures of kits with a server; server.py has the backends."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

import pytest

from llmcore.errors import CacheError, CacheUnavailable, LLMCoreError
from llmcore.support.errors import raise_unchained
from llmcore_testing import TcpProxy

PASSWORD = "canary-7f3a-right"  # noqa: S105 - of the server below
WRONG = "canary-7f3a-wrong"
SHORT_S = 1.0


class Handler(socketserver.StreamRequestHandler):
    """A protocol of lines: a password first, then `VERB key size` and the data; answers `OK size` and the data, or `NO`."""

    def handle(self) -> None:
        if self.rfile.readline().strip().decode() != PASSWORD:
            self.wfile.write(b"DENIED 0\n")
            return
        entries: dict[str, bytes] = self.server.entries  # type: ignore[attr-defined]
        while line := self.rfile.readline():
            verb, key, size = line.decode().split()
            data = self.rfile.read(int(size))
            if verb == "SET":
                entries[key] = data
                found: bytes | None = b""
            elif verb == "CLEAR":
                entries.clear()
                found = b""
            elif verb == "LIST":
                found = "\n".join(sorted(entries)).encode()
            else:
                found = entries.pop(key, None) if verb == "DELETE" else entries.get(key)
            self.wfile.write(b"NO 0\n" if found is None else b"OK %d\n%b" % (len(found), found))


class Client:
    """Correct: a connection is closed after each failure."""

    gone: type[LLMCoreError] = CacheUnavailable
    odd: type[LLMCoreError] = CacheError
    refused: type[LLMCoreError] = CacheError

    def __init__(self, address: str, password: str = PASSWORD) -> None:
        host, _, port = address.partition(":")
        self.address, self.password = (host, int(port)), password
        self.connection: socket.socket | None = None
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return type(self).__name__

    def ask(self, verb: str, key: str = "-", data: bytes = b"") -> bytes | None:
        """Return the data of the answer; None for `NO`."""
        with self.lock:
            try:
                return self.exchange(verb, key.encode().hex() or "-", data)
            except Exception as error:  # noqa: BLE001 - a network failure, or an error of ours
                self.fail(error)

    def exchange(self, verb: str, key: str, data: bytes) -> bytes | None:
        if self.connection is None:
            self.connection = socket.create_connection(self.address, self.timeout())
            self.connection.sendall(f"{self.password}\n".encode())
        self.connection.sendall(f"{verb} {key} {len(data)}\n".encode() + data)
        return self.read(self.connection)

    def read(self, connection: socket.socket) -> bytes | None:
        word, size = self.parse(self.read_line(connection))
        if word == "DENIED":
            raise self.refused(self.describe_refusal())
        data = self.read_bytes(connection, size)
        return data if word == "OK" else None

    def timeout(self) -> float | None:
        return SHORT_S

    def read_line(self, connection: socket.socket) -> str:
        line = b""
        while not line.endswith(b"\n"):
            if not (byte := connection.recv(1)):
                raise ConnectionResetError
            line += byte
        return line.decode()

    def parse(self, line: str) -> tuple[str, int]:
        word, _, size = line.partition(" ")
        if word not in {"OK", "NO", "DENIED"}:
            raise self.odd("the answer is of another protocol")
        return word, int(size)

    def read_bytes(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (more := connection.recv(size - len(data))):
                raise ConnectionResetError
            data += more
        return data

    def describe_refusal(self) -> str:
        return "the server refuses the credentials"

    def fail(self, error: Exception) -> NoReturn:
        self.drop()
        raise_unchained(error if isinstance(error, LLMCoreError) else self.gone("the server does not answer"))

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def __del__(self) -> None:
        self.drop()  # a call that hung leaves its connection open

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.drop()


class WithAServer:
    """Fixtures of both kits."""

    lacks: ClassVar[tuple[str, ...]] = ()
    deadline_s = 6.0
    backend: type

    @pytest.fixture
    def server(self) -> Iterator[str]:
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads, server.block_on_close = True, False
            server.entries = {}  # type: ignore[attr-defined]
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            yield f"127.0.0.1:{server.server_address[1]}"
            server.shutdown()

    @pytest.fixture
    def provider(self, server: str) -> Any:
        return self.backend(server)

    @pytest.fixture
    def upstream(self, server: str) -> Iterator[TcpProxy]:
        with TcpProxy(server) as proxy:
            yield proxy

    @pytest.fixture
    def broken(self, upstream: TcpProxy) -> Any:
        return self.backend(upstream.address)

    @pytest.fixture
    def denied(self, server: str) -> Any:
        return self.backend(server, WRONG)

    @pytest.fixture
    def canary(self) -> str:
        return WRONG
