"""Caches and storages on a server, good and broken on purpose; test_conformance_server.py runs this file."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NoReturn

import pytest

from llmcore.errors import (
    CacheError,
    CacheUnavailable,
    LLMCoreError,
    StorageDenied,
    StorageError,
    StorageNotFound,
    StorageUnavailable,
)
from llmcore.support.errors import raise_unchained
from llmcore_testing import CacheConformance, StorageConformance, TcpProxy

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


class Cache(Client):
    """Correct, without expiry, which is not tested here."""

    def get(self, key: str) -> bytes | None:
        return self.ask("GET", key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:  # noqa: ARG002 - not tested here
        self.ask("SET", key, value)

    def delete(self, key: str) -> bool:
        return self.ask("DELETE", key) is not None

    def clear(self) -> None:
        self.ask("CLEAR")


class TakesOutagesForMisses(Cache):
    """Continuum-AI-Corp/OrcaRouter-Lite#100: `get` returns None if the server cannot be reached."""

    def get(self, key: str) -> bytes | None:
        try:
            return super().get(key)
        except CacheError:
            return None


class DropsWritesInAnOutage(Cache):
    """a-luna/fastapi-redis-cache#30: the error of a write is caught, and nobody learns that nothing was stored."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        with contextlib.suppress(CacheError):
            super().set(key, value, ttl)


class ClearsNothingInAnOutage(Cache):
    """frappe/frappe#24974: the errors of clearing are ignored, so old entries come back with the server."""

    def clear(self) -> None:
        with contextlib.suppress(CacheError):
            super().clear()


class DeletesNothingInAnOutage(Cache):
    """Suor/django-cacheops#34: an invalidation is skipped while the server is away."""

    def delete(self, key: str) -> bool:
        try:
            return super().delete(key)
        except CacheError:
            return False


class KeepsTheConnectionAfterATimeout(Cache):
    """redis-rs/redis-rs#1252: the late answer to a call that timed out is taken for the answer to the next one."""

    def fail(self, error: Exception) -> NoReturn:
        if isinstance(error, TimeoutError):
            raise_unchained(CacheUnavailable("the server does not answer"))
        super().fail(error)


class WaitsForEver(Cache):
    """pennlabs/penn-clubs#611: without a socket timeout, a server that is silent blocks the application."""

    def timeout(self) -> float | None:
        return None


class LetsForeignErrorsOut(Cache):
    """sebleier/django-redis-cache#55: the ConnectionError of the client reaches the application."""

    def fail(self, error: Exception) -> NoReturn:
        self.drop()
        raise error


class ChainsForeignErrors(Cache):
    def fail(self, error: Exception) -> NoReturn:
        self.drop()
        if isinstance(error, LLMCoreError):
            raise_unchained(error)
        raise CacheUnavailable("the server does not answer") from error


class TakesThePartForTheValue(Cache):
    """Takes what came before the connection closed."""

    def read_bytes(self, connection: socket.socket, size: int) -> bytes:
        try:
            return super().read_bytes(connection, size)
        except ConnectionResetError:
            return b"a part"


class TakesAClosedConnectionForAMiss(Cache):
    def read_line(self, connection: socket.socket) -> str:
        try:
            return super().read_line(connection)
        except ConnectionResetError:
            return "NO 0"


class TakesOddAnswersForMisses(Cache):
    """Takes every answer that is not a value for a miss."""

    def parse(self, line: str) -> tuple[str, int]:
        return super().parse(line) if line.startswith(("OK", "DENIED")) else ("NO", 0)


class CallsAnOutageAnError(Cache):
    """Reports an outage like a refusal, so that the host does not use its memory tier."""

    gone = CacheError


class SendsWritesThreeTimes(Cache):
    """redis/hiredis#749: a write whose answer does not come may have been made; it is sent again."""

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        for left in (2, 1, 0):
            try:
                return super().set(key, value, ttl)
            except CacheUnavailable as error:
                if not left:
                    raise_unchained(error)
        return None


class StaysBroken(Cache):
    """redis/lettuce#262: after one lost connection, nothing works again."""

    def ask(self, verb: str, key: str = "-", data: bytes = b"") -> bytes | None:
        if getattr(self, "has_failed", False):
            raise CacheUnavailable("the connection is lost")
        return super().ask(verb, key, data)

    def fail(self, error: Exception) -> NoReturn:
        self.has_failed = True
        super().fail(error)


class SaysNothing(Cache):
    def fail(self, error: Exception) -> NoReturn:  # noqa: ARG002 - that is the fault
        self.drop()
        raise_unchained(CacheUnavailable(""))


class ShowsThePassword(Cache):
    """Repeats the credentials that were refused."""

    def describe_refusal(self) -> str:
        return f"the server refuses {self.password}"


class TakesARefusalForAMiss(Cache):
    def get(self, key: str) -> bytes | None:
        try:
            return super().get(key)
        except CacheUnavailable as error:
            raise_unchained(error)
        except CacheError:
            return None


class AsyncCache:
    """Correct and asynchronous."""

    def __init__(self, address: str, password: str = PASSWORD) -> None:
        self.blocking = Cache(address, password)
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, verb: str, key: str = "", data: bytes = b"") -> bytes | None:
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection(*self.blocking.address)
                self.streams[1].write(f"{self.blocking.password}\n".encode())
            reader, writer = self.streams
            writer.write(f"{verb} {key.encode().hex() or '-'} {len(data)}\n".encode() + data)
            async with asyncio.timeout(SHORT_S):
                word, size = self.blocking.parse((await reader.readline()).decode())
                found = await reader.readexactly(size)
        except asyncio.CancelledError:
            self.leave()
            raise
        except Exception:  # noqa: BLE001 - a network failure
            self.drop()
            raise_unchained(CacheUnavailable("the server does not answer"))
        return found if word == "OK" else None

    def leave(self) -> None:
        self.drop()

    def drop(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    async def aget(self, key: str) -> bytes | None:
        return await self.ask("GET", key)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:  # noqa: ARG002 - not tested here
        await self.ask("SET", key, value)

    async def adelete(self, key: str) -> bool:
        return await self.ask("DELETE", key) is not None

    async def aclear(self) -> None:
        await self.ask("CLEAR")

    async def aclose(self) -> None:
        self.drop()


class KeepsTheConnectionAfterCancellation(AsyncCache):
    """redis/redis-py#2624: the answer to a cancelled call is taken for the answer to the next one."""

    def leave(self) -> None:
        """Keep the connection."""


class Storage(Client):
    """Correct, without checks of keys, which are not tested here."""

    gone: type[LLMCoreError] = StorageUnavailable
    odd: type[LLMCoreError] = StorageError
    refused: type[LLMCoreError] = StorageDenied

    def save(self, key: str, data: bytes) -> None:
        self.ask("SET", key, data)

    def load(self, key: str) -> bytes:
        found = self.ask("GET", key)
        if found is None:
            raise StorageNotFound("nothing is stored under the key")
        return found

    def exists(self, key: str) -> bool:
        return self.ask("GET", key) is not None

    def delete(self, key: str) -> bool:
        return self.ask("DELETE", key) is not None

    def list_files(self, prefix: str = "") -> Sequence[str]:
        keys = [bytes.fromhex(name).decode() for name in (self.ask("LIST") or b"").decode().split()]
        return [key for key in sorted(keys) if key.startswith(prefix)]

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        yield self.load(key)[start:stop]

    def save_stream(self, key: str, pieces: Any) -> None:
        self.save(key, b"".join(pieces))


class FindsNothingInAnOutage(Storage):
    """Takes an outage for an answer."""

    def exists(self, key: str) -> bool:
        try:
            return super().exists(key)
        except StorageError:
            return False


class ListsNothingInAnOutage(Storage):
    def list_files(self, prefix: str = "") -> Sequence[str]:
        try:
            return super().list_files(prefix)
        except StorageError:
            return []


class TakesOutagesForMissingFiles(Storage):
    gone = StorageNotFound


class StreamsEndWellIfCut(Storage):
    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        with contextlib.suppress(StorageUnavailable):
            yield from super().load_stream(key, start, stop)


class LoadsAPart(Storage):
    """rustfs/rustfs#2506: an answer has fewer bytes than its header says, and is a success."""

    def read_bytes(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := connection.recv(size - len(data))):
            data += more
        return data


class TakesARefusalForAnOutage(Storage):
    refused = StorageUnavailable


class SavesInSilence(Storage):
    def save(self, key: str, data: bytes) -> None:
        with contextlib.suppress(StorageError):
            super().save(key, data)


class WithAServer:
    """Fixtures of both kits."""

    lacks: ClassVar[tuple[str, ...]] = ()
    deadline_s = 6.0
    backend: type = Cache

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


class OneVariant(WithAServer):
    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestCache(OneVariant, CacheConformance):
    """Correct."""


class TestAsyncCache(WithAServer, CacheConformance):
    """Correct; its password is not tested."""

    backend = AsyncCache

    @pytest.fixture(params=["async"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def denied(self) -> Any:
        return None


class TestStorage(OneVariant, StorageConformance):
    """Correct."""

    backend = Storage


class TestKeepsTheConnectionAfterCancellation(TestAsyncCache):
    backend = KeepsTheConnectionAfterCancellation


for _cache in (
    TakesOutagesForMisses, DropsWritesInAnOutage, ClearsNothingInAnOutage, DeletesNothingInAnOutage,
    KeepsTheConnectionAfterATimeout, WaitsForEver, LetsForeignErrorsOut, ChainsForeignErrors, TakesThePartForTheValue,
    TakesAClosedConnectionForAMiss, TakesOddAnswersForMisses, CallsAnOutageAnError, SendsWritesThreeTimes, StaysBroken,
    SaysNothing, ShowsThePassword, TakesARefusalForAMiss,
):  # fmt: skip
    globals()[f"Test{_cache.__name__}"] = type(f"Test{_cache.__name__}", (TestCache,), {"backend": _cache})
for _storage in (
    FindsNothingInAnOutage, ListsNothingInAnOutage, TakesOutagesForMissingFiles, StreamsEndWellIfCut, LoadsAPart,
    TakesARefusalForAnOutage, SavesInSilence,
):  # fmt: skip
    globals()[f"Test{_storage.__name__}"] = type(
        f"Test{_storage.__name__}", (TestStorage,), {"backend": _storage}
    )
