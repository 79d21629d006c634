"""Errors name the cause: which certificate, which file, TLS or plain text, which database, which right, whose password."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme

from llmcore.errors import CacheError, ConfigError
from llmcore.types import Duration, Secret
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.conformance import Conformance
from llmcore_testing.redis_server import redis_server_version, redis_under_sentinels
from tests.kits.redis_tls import TLSServer, make_certificates, redis_over_tls

pytestmark = pytest.mark.skipif(
    redis_server_version() < (7,), reason="no redis-server of version 7 or newer, with TLS"
)
PATIENT = {"timeout": Duration(5), "connect_timeout": Duration(5), "tls_timeout": Duration(2)}


def cache(url: str, **options: Any) -> RedisCache:
    return RedisCache(RedisOptions(**{"url": url, **PATIENT, **options}))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSServer]:
    with redis_over_tls(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Causes(Conformance):
    kind: ClassVar[str] = "cache"
    must: ClassVar[tuple[str, ...]] = ("get", "set", "delete", "clear")

    @pytest.fixture
    def provider(self, server: TLSServer) -> RedisCache:
        return cache(server.url, **server.options)

    def fault(self, url: str, *call: Any, **options: Any) -> CacheError:
        """Return the error of a call, by default a `get`, to a cache at *url*."""
        other = self.another(cache(url, **options))
        with pytest.raises(CacheError) as caught:
            other.call(*(call or ("get", "key")))
        other.close()
        assert self.foreign(caught.value) == []
        assert caught.value.fix
        return caught.value


class TestTLS(Causes):
    def test_a_missing_client_certificate_is_named(self, server: TLSServer) -> None:
        for _ in range(5):  # the message of the server is sometimes lost
            error = self.fault(server.url, tls_ca_file=server.certificates.ca)
            assert "require" in error.message
            assert "client certificate" in error.message
            assert "`tls_cert_file`" in str(error)

    def test_an_untrusted_client_certificate_is_named(self, server: TLSServer, tmp_path: Path) -> None:
        foreign = make_certificates(tmp_path)
        files = {**server.options, "tls_cert_file": foreign.client, "tls_key_file": foreign.client_key}
        for _ in range(5):
            error = self.fault(server.url, **files)
            assert "reject" in error.message
            assert "client certificate" in error.message

    def test_the_server_is_not_trusted(self, server: TLSServer, tmp_path: Path) -> None:
        other = make_certificates(tmp_path)
        for options in ({}, {"tls_ca_file": other.ca}):
            error = self.fault(server.url, **options)
            assert "certificate that is not trusted" in error.message
            assert "`tls_ca_file`" in str(error)

    def test_a_host_name_that_does_not_match_is_named(self, server: TLSServer) -> None:
        error = self.fault(server.url.replace("localhost", "127.0.0.1"), **server.options)
        assert "certificate that is not trusted: IP address mismatch" in error.message
        assert error.fix == "llmcore config set cache.redis.tls_check_hostname false"
        unchecked = {**server.options, "tls_check_hostname": False}
        other = self.another(cache(server.url.replace("localhost", "127.0.0.1"), **unchecked))
        assert other.call("get", "key") is None
        other.close()

    def test_plain_text_to_a_tls_port_is_named(self, server: TLSServer) -> None:
        error = self.fault(f"redis://127.0.0.1:{server.port}/0")
        assert "TLS" in error.message
        assert "rediss://" in str(error)

    def test_tls_to_a_plain_text_port_is_named(self, server: TLSServer) -> None:
        error = self.fault(f"rediss://localhost:{server.plain.port}/0", **server.options)
        assert "TLS" in error.message
        assert "redis://" in str(error)

    def test_a_refused_connection_is_named(self, server: TLSServer) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        assert "Connection refused" in self.fault(f"rediss://127.0.0.1:{port}", **server.options).message


class TestRefusals(Causes):
    def test_a_missing_database_is_named(self, server: TLSServer) -> None:
        error = self.fault(f"redis://127.0.0.1:{server.plain.port}/99")
        assert error.message == "Redis refuses: the server has no database 99"

    def test_a_forbidden_command_is_named(self, server: TLSServer) -> None:
        rights = ("on", ">pass", "~*", "+@all", "-set", "-client|tracking")
        server.plain.ask("ACL", "SETUSER", "limited", *rights)
        url = f"redis://limited:pass@127.0.0.1:{server.plain.port}/0"
        error = self.fault(url, "set", "key", b"value")
        assert error.message == "Redis refuses: the user 'limited' may not run SET"
        assert error.fix == "redis-cli ACL SETUSER limited +set"

    def test_forbidden_keys_are_named(self, server: TLSServer) -> None:
        server.plain.ask("ACL", "SETUSER", "elsewhere", "on", ">pass", "~other:*", "+@all")
        error = self.fault(f"redis://elsewhere:pass@127.0.0.1:{server.plain.port}/0", namespace="a b")
        assert error.message == "Redis refuses: the user 'elsewhere' may not access the keys of this cache"
        assert error.fix == "redis-cli ACL SETUSER elsewhere '~llmcore:a%20b:*'"

    def test_a_missing_password_is_named(self, server: TLSServer) -> None:
        server.plain.ask("ACL", "SETUSER", "open", "on", "nopass", "~*", "+@all", "-getrange")
        error = self.fault(f"redis://127.0.0.1:{server.plain.port}/0", username="open")
        assert "the user 'open' may not run GETRANGE" in error.message, "the default user was taken"

    def test_sentinels_may_have_separate_users(self, tmp_path: Path) -> None:
        with redis_under_sentinels(tmp_path) as servers:
            for sentinel in servers.sentinels:
                sentinel.ask("ACL", "SETUSER", "watcher", "on", ">right", "+@all", "allchannels")
                sentinel.ask("ACL", "SETUSER", "default", "off")
            right = {"sentinel_username": "watcher", "sentinel_password": Secret("right")}
            other = self.another(cache(servers.url, **right))
            other.call("set", "key", b"value")
            other.close()
            for wrong in (
                {},
                {**right, "sentinel_password": Secret("wrong")},
                {"sentinel_password": Secret("right")},
            ):
                error = self.fault(servers.url, **wrong)
                assert "a Sentinel" in error.message
                assert "`sentinel_username`" in str(error)


def _without_key(folder: Path) -> dict[str, Any]:
    files = make_certificates(folder)
    return {"tls_cert_file": files.client}


def _of_another_key(folder: Path) -> dict[str, Any]:
    files = make_certificates(folder)
    return {"tls_cert_file": files.client, "tls_key_file": files.server_key}


def _make_encrypted_key(folder: Path, password: str | None) -> dict[str, Any]:
    from cryptography.hazmat.primitives import serialization as pem

    files = make_certificates(folder)
    key = pem.load_pem_private_key(files.client_key.read_bytes(), None)
    coding = pem.BestAvailableEncryption(b"right")
    files.client_key.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, coding))
    options = {"tls_cert_file": files.client, "tls_key_file": files.client_key}
    return options if password is None else {**options, "tls_key_password": Secret(password)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: {"tls_ca_file": folder / "none"}, "tls_ca_file must be a file that can be read, got '"),
        (lambda folder: {"tls_ca_file": folder}, "which is a directory"),
        (lambda _: {"tls_ca_file": Path(__file__)}, "tls_ca_file must be a file of certificates in PEM"),
        (lambda folder: {"tls_cert_file": folder / "none"}, "tls_cert_file must be a file that can be read"),
        (lambda _: {"tls_cert_file": Path(__file__)}, "tls_cert_file must be a file that holds a certificate"),
        (lambda folder: {"tls_key_file": make_certificates(folder).client_key}, "tls_cert_file must be the certificate of"),
        (_without_key, "tls_cert_file must be a file that holds a private key"),
        (_of_another_key, "tls_key_file must be the key of the certificate in tls_cert_file"),
        (lambda folder: _make_encrypted_key(folder, None), "tls_key_file must be a key whose tls_key_password is given"),
        (lambda folder: _make_encrypted_key(folder, "canary"), "tls_key_file must be a key whose tls_key_password is right"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, make: Callable[[Path], dict[str, Any]], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        cache("rediss://localhost", **make(tmp_path))
    assert said in caught.value.message
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "canary" not in str(caught.value)


def test_an_error_names_the_variable_that_selects_trusted_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        cache("rediss://localhost")
    cache("rediss://localhost", tls_ca_file=make_certificates(tmp_path).ca)


def test_an_encrypted_key_and_a_key_in_the_file_of_the_certificate_work(
    server: TLSServer, tmp_path: Path
) -> None:
    options = _make_encrypted_key(tmp_path / "new", "right")
    joined = tmp_path / "joined.pem"
    joined.write_bytes(server.certificates.client.read_bytes() + server.certificates.client_key.read_bytes())
    shutil.copy(server.certificates.ca, tmp_path / "ca.pem")
    RedisCache(RedisOptions(url="rediss://localhost", **options))
    made = cache(server.url, tls_ca_file=server.certificates.ca, tls_cert_file=joined)
    assert made.get("nothing") is None
    made.close()


def test_renewed_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    with redis_over_tls(tmp_path) as server:
        files, authority = server.certificates, trustme.CA()
        issued = authority.issue_cert("localhost")
        stale = {"tls_cert_file": tmp_path / "cert.pem", "tls_key_file": tmp_path / "key.pem"}
        issued.cert_chain_pems[0].write_to_path(str(stale["tls_cert_file"]))
        issued.private_key_pem.write_to_path(str(stale["tls_key_file"]))
        made = cache(server.url, tls_ca_file=files.ca, **stale)
        with pytest.raises(CacheError, match="client certificate"):
            made.get("key")
        shutil.copy(files.client, stale["tls_cert_file"])
        with pytest.raises(CacheError, match="client certificate"):
            made.get("key")  # only one of two files was renewed: the old certificate is used
        shutil.copy(files.client_key, stale["tls_key_file"])
        assert made.get("key") is None
        assert asyncio.run(made.aget("key")) is None
        made.close()
