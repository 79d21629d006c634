"""A server that is down, silent, full, a replica, restarted or dripping: an error soon, and one of ours."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from llmcore.errors import CacheError, CacheUnavailable, LLMCoreError
from llmcore.types import Duration, Secret
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.conformance import Conformance
from llmcore_testing.redis_server import RedisServer, find_redis_server

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")

SOON_S = 30.0
"""Far more than the timeouts of these tests; what hangs takes longer."""
NAME = b"llmcore:default:v1:key"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def cache(url: str, **options: Any) -> RedisCache:
    patient = {"timeout": Duration(3), "connect_timeout": Duration(3)}
    return RedisCache(RedisOptions(url=url, **{**patient, **options}))


class SyncAndAsync(Conformance):
    """Calls the cache of each test sync and async, as the kits do."""

    kind: ClassVar[str] = "cache"
    must: ClassVar[tuple[str, ...]] = ("get", "set", "delete", "clear")

    @pytest.fixture
    def provider(self, server: RedisServer) -> RedisCache:
        return cache(server.url)

    def soon(self, name: str, *args: Any) -> CacheError:
        """Return the error of a call, which must come soon and carry nothing foreign."""
        started = time.monotonic()
        error = self.fails(CacheError, name, *args)
        assert time.monotonic() - started < SOON_S
        assert self.foreign(error) == []
        assert error.where is not None
        assert error.fix
        return error

    def retry(self, name: str, *args: Any) -> Any:
        """Return the result of a call, repeated while a busy machine exceeds the short timeouts."""
        ends = time.monotonic() + 60
        while True:
            try:
                return self.call(name, *args)
            except CacheUnavailable:
                if time.monotonic() > ends:
                    raise


class TestAServerThatFails(SyncAndAsync):
    @pytest.fixture
    def provider(self, server: RedisServer) -> RedisCache:
        return cache(server.url, timeout=Duration(0.3), connect_timeout=Duration(0.3))

    def test_down_killed_and_started_again(self, server: RedisServer) -> None:
        server.kill()
        assert "Connection refused" in str(self.soon("get", "key"))
        self.soon("set", "key", b"value")
        server.start()
        self.call("set", "key", b"value")
        assert self.together([("get", "key")] * 8) == [b"value"] * 8
        server.kill()
        self.soon("get", "key")
        server.start()
        assert self.call("get", "key") is None

    def test_a_restart_while_idle_is_not_an_error(self, server: RedisServer) -> None:
        self.together([("set", f"key {i}", b"value") for i in range(8)])
        server.kill()
        server.start()
        assert self.call("get", "key 1") is None
        self.call("set", "key", b"value")
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        assert self.together([("get", "key")] * 8) == [b"value"] * 8
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        assert self.call("delete", "key") is True
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        self.call("clear")

    def test_a_paused_server_is_used_again_after_it_resumes(self, server: RedisServer) -> None:
        self.call("set", "key", b"value")
        server.pause()
        assert "silent" in str(self.soon("get", "key"))
        self.soon("get", "key")
        started = time.monotonic()
        answers = self.together([("get", "key")] * 100, errors=True)
        assert time.monotonic() - started < SOON_S, "callers queue for the connections"
        assert {type(answer) for answer in answers} == {CacheUnavailable}
        server.resume()
        assert self.retry("get", "key") == b"value"

    @pytest.mark.parametrize("greeting", [b"", b"%1\r\n$5\r\nproto\r\n:3\r\n"], ids=["at_once", "later"])
    def test_a_server_that_drips_its_answer_is_not_waited_for(self, greeting: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=_drip, args=(listener, greeting), daemon=True).start()
            url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
            other = self.another(cache(url, timeout=Duration(0.3), connect_timeout=Duration(0.3)))
            started = time.monotonic()
            with pytest.raises(CacheError, match="silent"):
                other.call("get", "key")
            assert time.monotonic() - started < SOON_S
            other.close()

    def test_a_server_of_another_protocol_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=_answer_in_http, args=(listener,), daemon=True).start()
            other = self.another(cache(f"redis://127.0.0.1:{listener.getsockname()[1]}/0"))
            with pytest.raises(CacheError):
                other.call("get", "key")
            other.close()


class TestAServerThatRefuses(SyncAndAsync):
    def test_no_password_and_a_wrong_one(self, tmp_path: Path) -> None:
        with RedisServer(tmp_path, password="right-canary") as server:  # noqa: S106 - of this server
            for url, password, said in (
                (server.url.replace("right", "wrong"), None, "user name or password is wrong"),
                (server.url, Secret("wrong-canary"), "user name or password is wrong"),
                (server.url.replace(":right-canary@", ""), None, "requires a password"),
            ):
                other = self.another(cache(url, password=password))
                with pytest.raises(CacheError, match=said) as caught:
                    other.call("get", "key")
                assert "canary" not in "".join(traceback.format_exception(caught.value))
                assert caught.value.fix == "llmcore config set cache.redis.password env:REDIS_PASSWORD"
                other.close()
            other = self.another(cache(server.url.replace("right", "wrong"), password=Secret("right-canary")))
            assert other.call("get", "key") is None, "the option goes before the address"
            other.close()

    def test_out_of_memory(self, server: RedisServer) -> None:
        self.call("set", "key", b"value")
        server.ask("CONFIG", "SET", "maxmemory", "1")
        assert "out of memory" in str(self.soon("set", "other", b"value"))
        assert self.call("get", "key") == b"value"

    def test_a_replica(self, server: RedisServer) -> None:
        self.call("set", "key", b"value")
        server.ask("REPLICAOF", "127.0.0.1", "1")
        assert "replica" in str(self.soon("set", "key", b"other"))
        assert "replica" in str(self.soon("clear"))
        server.ask("REPLICAOF", "NO", "ONE")
        self.call("set", "key", b"other")

    def test_flushed(self, server: RedisServer) -> None:
        self.call("set", "key", b"value")
        server.ask("FLUSHALL")
        assert self.call("get", "key") is None

    def test_too_many_clients(self, server: RedisServer) -> None:
        server.ask("CONFIG", "SET", "maxclients", "1")
        with socket.create_connection(("127.0.0.1", server.port)) as only:
            only.sendall(b"PING\r\n")
            assert only.recv(100) == b"+PONG\r\n"
            self.soon("get", "key")

    def test_a_user_without_the_right_is_an_error(self, server: RedisServer) -> None:
        server.ask("ACL", "SETUSER", "reader", "on", ">pass", "~*", "+get", "+getrange", "+hello")
        other = self.another(cache(server.url, username="reader", password=Secret("pass")))
        assert other.call("get", "key") is None
        with pytest.raises(CacheError, match="the user 'reader' may not run SET"):
            other.call("set", "key", b"value")
        other.close()


def _drip(listener: socket.socket, greeting: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        if greeting:
            connection.recv(1000)
            connection.sendall(greeting)
            connection.recv(1000)
        try:
            for byte in b"$300\r\n" + b"x" * 300:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)  # the drip itself
        except OSError:
            return


def _answer_in_http(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_an_error_is_one_of_ours(server: RedisServer) -> None:
    server.kill()
    calls: list[Callable[[RedisCache], Any]] = [
        lambda c: c.get("k"),
        lambda c: c.set("k", b""),
        lambda c: c.delete("k"),
        lambda c: c.clear(),
        lambda c: list(c.keys()),
        lambda c: c.get_many(["k"]),
        lambda c: c.delete_matching("k*"),
        lambda c: c.acquire("k", "me", 1),
        lambda c: c.release("k", "me"),
    ]
    for call in calls:
        with pytest.raises(LLMCoreError) as caught:
            call(cache(server.url))
        assert type(caught.value) is CacheUnavailable
        assert caught.value.__context__ is None
