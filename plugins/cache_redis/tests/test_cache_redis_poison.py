"""Foreign values under a key: anything except a complete entry of that key is a miss, and costs little."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from zlib import crc32

import pytest

from llmcore.errors import CacheError
from llmcore.types import Duration, Size
from llmcore_cache_redis import entry_codec
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.conformance import Conformance
from llmcore_testing.redis_server import RedisServer, find_redis_server

NAME = b"llmcore:default:v1:key"

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def cache(url: str, **options: Any) -> RedisCache:
    return RedisCache(RedisOptions(url=url, timeout=Duration(3), connect_timeout=Duration(3), **options))


def poisons() -> dict[str, bytes]:
    good = entry_codec.pack(NAME, b"a value that was set")
    body = len(b"x").to_bytes(4, "little") + bytes(16) + b"x"
    bomb = b"cos\nsystem\n(S'touch /tmp/llmcore-pickle-bomb'\ntR."
    return {
        "empty": b"",
        "garbage": os.urandom(500),
        "json": b'{"text": "wrong"}',
        "pickle": bomb,
        "pickle_in_our_clothes": good[:4] + bomb,
        "of_another_key": entry_codec.pack(b"llmcore:default:v1:other", b"theirs"),
        "of_another_version": b"LLR\x02" + good[4:],
        "no_digest": b"LLR\x01" + crc32(body).to_bytes(4, "little") + body,
        "longer": good + b"\0",
        "large": os.urandom(200_000),
        "says_to_be_huge": good[:8] + (2**32 - 1).to_bytes(4, "little") + good[12:] + bytes(100_000),
    }


class TestPoison(Conformance):
    kind: ClassVar[str] = "cache"
    must: ClassVar[tuple[str, ...]] = ("get", "set", "delete", "clear")

    @pytest.fixture
    def provider(self, server: RedisServer) -> RedisCache:
        return cache(server.url)

    @pytest.mark.parametrize("poison", poisons().values(), ids=poisons())
    def test_a_foreign_value_is_a_miss_and_can_be_overwritten(
        self, server: RedisServer, poison: bytes
    ) -> None:
        put(server, poison)
        assert self.call("get", "key") is None
        assert self.call("get_many", ["key"]) == {}
        self.call("set", "key", b"value")
        assert self.call("get", "key") == b"value"
        assert not Path("/tmp/llmcore-pickle-bomb").exists()  # noqa: S108 - the bomb's own

    def test_every_truncation_and_flipped_bit_is_a_miss(self, server: RedisServer) -> None:
        good = entry_codec.pack(NAME, b"value")
        put(server, good)
        assert self.call("get", "key") == b"value"
        flipped = [
            bytes([*good[:i], good[i] ^ 1 << bit, *good[i + 1 :]])
            for i in range(len(good))
            for bit in range(8)
        ]
        for damaged in [*(good[:cut] for cut in range(len(good))), *flipped]:
            put(server, damaged)
            assert self.call("get", "key") is None

    @pytest.mark.parametrize(
        "words", [("LPUSH", "a"), ("SADD", "a"), ("HSET", "a", "b"), ("XADD", "*", "a", "b")]
    )
    def test_a_value_of_another_type_is_a_miss(self, server: RedisServer, words: tuple[str, ...]) -> None:
        server.ask(words[0], NAME.decode(), *words[1:])
        assert self.call("get", "key") is None
        assert self.call("get_many", ["key"]) == {}
        self.call("set", "key", b"value")
        assert self.call("get", "key") == b"value"

    def test_a_hundred_megabytes_are_not_fetched(self, server: RedisServer) -> None:
        server.ask("SETRANGE", NAME.decode(), "100000000", "x")
        before = _read_sent_bytes(server)
        assert self.call("get", "key") is None
        assert _read_sent_bytes(server) - before < 1_000_000

    def test_a_value_over_the_limit_is_neither_written_nor_fetched(self, server: RedisServer) -> None:
        self.call("set", "key", b"x" * 100_001)
        other = self.another(cache(server.url, max_value=Size(100_000)))
        assert other.call("get", "key") is None
        with pytest.raises(CacheError, match="100,001 bytes"):
            other.call("set", "key", b"x" * 100_001)
        other.call("set", "key", b"x" * 100_000)
        assert other.call("get", "key") == b"x" * 100_000
        other.close()


def put(server: RedisServer, value: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(
            b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(NAME), NAME, len(value), value)
        )
        assert connection.recv(100) == b"+OK\r\n"


def _read_sent_bytes(server: RedisServer) -> int:
    line = next(line for line in server.ask("INFO", "stats").splitlines() if "total_net_output_bytes" in line)
    return int(line.partition(":")[2])
