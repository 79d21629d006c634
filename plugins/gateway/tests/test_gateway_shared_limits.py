"""The workers of a gateway share rate limits on Redis, and leave it when they end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import httpx2
import pytest

from llmcore_testing.redis_server import RedisServer, find_redis_server
from llmcore_testing.simulator import Simulator
from tests.kits.gateway import MODEL, Command, write_config
from tests.kits.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX"),
    pytest.mark.skipif(find_redis_server() is None, reason="no redis-server"),
]

RATE = "llmcore:default:rate:{openai}:"


def test_workers_share_the_slots_of_a_provider(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis, Simulator() as upstream:
        path = write_config(tmp_path / "llmcore.toml", upstream)
        path.write_text(
            f"{path.read_text()}\n[limits]\nconcurrency = 3\ntokens_per_minute = 60_000_000\n"
            f'[limits.shared]\nurl = "{redis.url}"\nlimit_timeout = "60s"\nlease = "10m"\n'
        )
        command = Command(path, "--workers", "2")
        statuses: list[int] = []

        def ask(seed: int) -> None:
            body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "seed": seed}
            with httpx2.Client(
                base_url=command.url, timeout=60
            ) as http:  # a connection each, for both workers
                statuses.append(http.post("/v1/chat/completions", json=body).status_code)

        try:
            command.wait_until_ready()
            upstream.hold()
            threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(10)]
            for thread in threads:
                thread.start()
            wait_until(lambda: redis.ask("ZCARD", f"{RATE}queue") == 7)
            upstream.wait_for_requests(3, 60)
            assert upstream.counts["requests"] == 3
            assert redis.ask("ZCARD", f"{RATE}slots") == 3
            upstream.release()
            for thread in threads:
                thread.join(60)
            assert statuses == [200] * 10
            wait_until(lambda: redis.ask("ZCARD", f"{RATE}slots") == 0)
        finally:
            command.close()
        assert redis.ask("ZCARD", f"{RATE}processes") == 0, "a worker that ends leaves the store"
