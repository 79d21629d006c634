"""Caches and storages on a server, good and broken on purpose; test_conformance_server.py runs this file."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

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
from llmcore_testing import CacheConformance, StorageConformance
from tests.broken_backends.server_link import PASSWORD, SHORT_S, Client, WithAServer


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
    """a-luna/fastapi-redis-cache#30: the error of a write is caught, and the caller does not learn that nothing was stored."""

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
    """jaysonsantos/python-binary-memcached#238: a connection that was closed looks like a miss."""

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


class LosesTheMessage(Cache):
    def fail(self, error: Exception) -> NoReturn:  # noqa: ARG002 - that is the fault
        self.drop()
        raise_unchained(CacheUnavailable(""))


class ShowsThePassword(Cache):
    """redisson/redisson#1820: repeats the credentials that were refused."""

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
    """jschneier/django-storages#1085: takes an outage for an answer."""

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
    """owncloud/client#2528: a download that broke off counts as whole."""

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


class OneVariant(WithAServer):
    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestCache(OneVariant, CacheConformance):
    """Correct."""

    backend = Cache


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
    LosesTheMessage, ShowsThePassword, TakesARefusalForAMiss,
):  # fmt: skip
    globals()[f"Test{_cache.__name__}"] = type(f"Test{_cache.__name__}", (TestCache,), {"backend": _cache})
for _storage in (
    FindsNothingInAnOutage, ListsNothingInAnOutage, TakesOutagesForMissingFiles, StreamsEndWellIfCut, LoadsAPart,
    TakesARefusalForAnOutage, SavesInSilence,
):  # fmt: skip
    globals()[f"Test{_storage.__name__}"] = type(
        f"Test{_storage.__name__}", (TestStorage,), {"backend": _storage}
    )
