"""The tests that the engines for clusters share: batches on two worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

import llmcore
from llmcore.core import Core
from llmcore_testing import Simulator
from tests.kits.engines import KEY, RunsTwice, make_config

__all__ = ["ClusterBatches"]

_KILLED = """
import json, os, signal, sys, llmcore
if __name__ == "__main__":
    core = llmcore.load(json.loads(sys.argv[1]))
    run = core.llm.batch((f"d{number}" for number in range(400)), concurrency=8)
    print(run.id, flush=True)
    for item in run:
        os.kill(os.getpid(), signal.SIGKILL)
"""


class ClusterBatches:
    """Batches on a cluster that the engine starts. A subclass names the engine, and finds a process of a worker."""

    engine: ClassVar[str]

    def find_worker(self, core: Core) -> int:
        """Return the id of a worker process."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(KEY, "sk-test")

    @pytest.fixture(scope="class")
    @classmethod
    def upstream(cls) -> Iterator[Simulator]:
        with Simulator(latency_s=0.02) as simulator:
            yield simulator

    @pytest.fixture(scope="class")
    @classmethod
    def core(cls, upstream: Simulator) -> Iterator[Core]:
        with llmcore.load(make_config(upstream, cls.engine, engines={cls.engine: {"workers": 2}})) as core:
            yield core

    @pytest.fixture
    def requests(self, upstream: Simulator) -> Callable[[], int]:
        """Return a function that counts the requests of this test."""
        before = upstream.counts["requests"]
        return lambda: upstream.counts["requests"] - before

    def test_the_workers_of_a_cluster_send_each_request_once(
        self, core: Core, requests: Callable[[], int]
    ) -> None:
        run = core.llm.batch(f"a{number % 300}" for number in range(500))
        assert sum(item.reply is not None for item in run) == 500
        assert requests() == 300
        rows = [row for row in core.usage.by("tag") if row.name == f"batch:{run.id}"]
        assert [(row.requests, row.cost) for row in rows] == [(300, run.summary.cost)]

    def test_a_task_that_runs_twice_is_paid_once(self, core: Core, requests: Callable[[], int]) -> None:
        backend = core.backend("engines")
        backend._provider = twice = RunsTwice(backend.provider)
        try:
            assert all(item.reply for item in core.llm.batch(f"b{number}" for number in range(300)))
            for future in twice.futures:
                future.result(60)
        finally:
            backend._provider = twice.inner
        assert requests() == 300

    def test_a_worker_that_is_killed_loses_only_its_requests_in_flight(
        self, core: Core, upstream: Simulator, requests: Callable[[], int]
    ) -> None:
        run = core.llm.batch((f"c{number}" for number in range(400)), concurrency=8)
        results = iter(run)
        found = [next(results)]
        assert upstream.wait_for(lambda: requests() >= 110, 60)
        os.kill(self.find_worker(core), signal.SIGKILL)
        found += results
        assert sorted(item.index for item in found if item.reply) == list(range(400))
        assert requests() <= 400 + 4, "a worker has at most four requests in flight"

    def test_a_killed_program_is_resumed_without_paying_twice(
        self, upstream: Simulator, requests: Callable[[], int], tmp_path: Path
    ) -> None:
        config = make_config(upstream, self.engine, engines={self.engine: {"workers": 1}})
        output = tmp_path / "run"
        with output.open("wb") as file:  # not a pipe, which the processes of the cluster may keep open
            command = [sys.executable, "-c", _KILLED, json.dumps(config)]
            done = subprocess.run(command, stdout=file, timeout=200, check=False)
        assert done.returncode == -signal.SIGKILL
        local = {"engines": {"local": {"workers": 2}}, "batch": {"engine": "local"}}
        with llmcore.load({**config, **local}) as core:
            items = [f"d{number}" for number in range(400)]
            resumed = core.llm.resume_batch(output.read_text().strip(), items, engine="local")
            assert sum(item.reply is not None for item in resumed) == 400
        assert requests() <= 400 + 8, "the workers of the killed program may have had its requests in flight"
