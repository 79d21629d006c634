"""`CacheConformance` against real servers: plain, on a Unix socket, several, and over TLS with a password."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from llmcore.types import Duration, Secret, Size
from llmcore_cache_memcached.plugin import MemcachedOptions
from llmcore_cache_memcached.provider import MemcachedCache
from llmcore_testing import CacheConformance, TcpProxy
from llmcore_testing.memcached_server import MemcachedServer, find_memcached
from tests.kits.redis_tls import make_certificates

pytestmark = pytest.mark.skipif(find_memcached() is None, reason="no memcached")
PATIENT: dict[str, Any] = {"timeout": Duration(10), "connect_timeout": Duration(10)}


class OnServers(CacheConformance):
    """A test gets a namespace of its own."""

    abilities: ClassVar[tuple[str, ...]] = ("keys", "delete_matching", "version", "watch", "restricted")
    lacks = (*abilities, "broken", "denied", "canary")

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def namespace(self) -> str:
        return f"test {secrets.token_hex(8)}"

    @pytest.fixture
    def provider(self, options: dict[str, Any], namespace: str) -> MemcachedCache:
        return MemcachedCache(MemcachedOptions(**PATIENT, **options, namespace=namespace))

    @pytest.fixture
    def sibling(self, options: dict[str, Any], namespace: str) -> MemcachedCache:
        return MemcachedCache(MemcachedOptions(**PATIENT, **options, namespace=namespace + ":k"))

    @pytest.fixture
    def twin(self, options: dict[str, Any], namespace: str) -> MemcachedCache:
        return MemcachedCache(MemcachedOptions(**PATIENT, **options, namespace=namespace))


class TestWithoutOptions(OnServers):
    lacks = (*OnServers.abilities, "denied", "canary")

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> Iterator[dict[str, Any]]:
        with MemcachedServer() as server:
            yield {"servers": (server.address,)}

    @pytest.fixture
    def upstream(self, options: dict[str, Any]) -> Iterator[TcpProxy]:
        with TcpProxy(options["servers"][0]) as proxy:
            yield proxy

    @pytest.fixture
    def broken(self, upstream: TcpProxy, namespace: str) -> MemcachedCache:
        short = Duration(1.5)
        return MemcachedCache(
            MemcachedOptions(
                servers=(upstream.address,), namespace=namespace, timeout=short, connect_timeout=short
            )
        )


class TestOnAUnixSocketWithLargeItems(OnServers):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
        path = tmp_path_factory.mktemp("s") / "s"
        with MemcachedServer("-I", "8m", "-m", "256", unix_socket=path) as server:
            yield {"servers": (server.address,), "max_value_bytes": Size(8 * 2**20 - 1024)}

    def test_a_value_of_five_megabytes_is_stored(self) -> None:
        value = bytes(range(256)) * 20_000
        self.call("set", "key", value)
        assert self.call("get", "key") == value


class TestThreeServers(OnServers):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> Iterator[dict[str, Any]]:
        with MemcachedServer() as one, MemcachedServer() as two, MemcachedServer() as three:
            yield {"servers": (one.address, two.address, three.address)}


class TestOverTLSWithAPassword(OnServers):
    lacks = (*OnServers.abilities, "broken")

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("tls")
        files, users = make_certificates(folder), Path(folder, "users")
        users.write_text("app:secret-word\n")
        tls = f"ssl_chain_cert={files.server},ssl_key={files.server_key},ssl_ca_cert={files.ca},ssl_verify_mode=2"
        with MemcachedServer("-Z", "-o", tls, "--auth-file", str(users)) as server:
            yield {
                "servers": (f"localhost:{server.port}",),
                "username": "app",
                "password": Secret("secret-word"),
                "tls": True,
                "tls_ca_file": files.ca,
                "tls_cert_file": files.client,
                "tls_key_file": files.client_key,
            }

    @pytest.fixture
    def denied(self, options: dict[str, Any], namespace: str) -> MemcachedCache:
        wrong = {**options, "password": Secret("wrong-canary")}
        return MemcachedCache(MemcachedOptions(**PATIENT, **wrong, namespace=namespace))

    @pytest.fixture
    def canary(self) -> str:
        return "wrong-canary"
