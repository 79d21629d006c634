"""Batches on a Dask cluster of two processes: workers that die, tasks that run twice, programs that are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import EngineError
from llmcore_testing import Simulator
from tests.kits.engines import KEY, RunsTwice, make_config

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-test")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator(latency_s=0.02) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def core(upstream: Simulator) -> Iterator[Core]:
    with llmcore.load(make_config(upstream, "dask", engines={"dask": {"workers": 2}})) as core:
        yield core


@pytest.fixture
def requests(upstream: Simulator) -> Any:
    """Return a function that counts the requests of this test."""
    before = upstream.counts["requests"]
    return lambda: upstream.counts["requests"] - before


def find_workers(core: Core) -> dict[str, int]:
    """Return the process of each worker, by its address."""
    found: dict[str, int] = core.backend("engines").provider._client.run(os.getpid)
    return found


def test_the_workers_of_a_cluster_send_each_request_once(core: Core, requests: Any) -> None:
    run = core.llm.batch(f"a{number % 300}" for number in range(500))
    assert sum(item.reply is not None for item in run) == 500
    assert requests() == 300
    rows = [row for row in core.usage.by("tag") if row.name == f"batch:{run.id}"]
    assert [(row.requests, row.cost) for row in rows] == [(300, run.summary.cost)]


def test_a_task_that_runs_twice_is_paid_once(core: Core, requests: Any) -> None:
    backend = core.backend("engines")
    twice = RunsTwice(backend.provider)
    backend._provider = twice
    try:
        assert all(item.reply for item in core.llm.batch(f"b{number}" for number in range(300)))
        for future in twice.futures:
            future.result(60)
    finally:
        backend._provider = twice.inner
    assert requests() == 300


def test_a_worker_that_is_killed_loses_only_its_requests_in_flight(
    core: Core, upstream: Simulator, requests: Any
) -> None:
    run = core.llm.batch((f"c{number}" for number in range(400)), concurrency=8)
    results = iter(run)
    found = [next(results)]
    assert upstream.wait_for(lambda: requests() >= 110, 60)
    os.kill(next(iter(find_workers(core).values())), signal.SIGKILL)
    found += results
    assert sorted(item.index for item in found if item.reply) == list(range(400))
    assert requests() <= 400 + 4, "a worker has two chunks with two requests each"


def test_a_killed_program_is_resumed_without_paying_twice(upstream: Simulator, requests: Any) -> None:
    config = make_config(upstream, "dask", engines={"dask": {"workers": 1}})
    script = (
        "import json, os, signal, sys, llmcore\n"
        "if __name__ == '__main__':\n"
        "    core = llmcore.load(json.loads(sys.argv[1]))\n"
        "    run = core.llm.batch((f'd{number}' for number in range(400)), concurrency=8)\n"
        "    print(run.id, flush=True)\n"
        "    for item in run:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(config)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    with llmcore.load({**config, "engines": {"local": {"workers": 2}}, "batch": {"engine": "local"}}) as core:
        items = [f"d{number}" for number in range(400)]
        resumed = core.llm.resume_batch(done.stdout.strip(), items, engine="local")
        assert sum(item.reply is not None for item in resumed) == 400
    assert requests() <= 400 + 8, "the workers of the killed program may have had its requests in flight"


def test_a_restarted_scheduler_repeats_nothing(upstream: Simulator, requests: Any, tmp_path: Path) -> None:
    scheduler, address = start_scheduler(tmp_path / "first")
    worker = start_worker(address)
    config = make_config(upstream, "dask", engines={"dask": {"address": address}})
    try:
        with llmcore.load(config) as core:
            results = iter(core.llm.batch((f"e{number}" for number in range(400)), concurrency=4))
            found = [next(results)]
            stop(scheduler)
            stop(worker)  # a worker of Dask ends with its scheduler
            scheduler, _ = start_scheduler(tmp_path / "second", address)
            worker = start_worker(address)
            found += results
        assert sorted(item.index for item in found if item.reply) == list(range(400))
        assert requests() <= 400 + 4
    finally:
        stop(scheduler)
        stop(worker)


def test_a_scheduler_that_is_away_is_an_error(upstream: Simulator) -> None:
    dask = {"address": "tcp://127.0.0.1:9", "connect_timeout": "1s"}
    with (
        llmcore.load(make_config(upstream, "dask", engines={"dask": dask})) as core,
        pytest.raises(EngineError, match=r"the Dask cluster tcp://127\.0\.0\.1:9 cannot be used"),
    ):
        list(core.llm.batch(["f"]))


def start_scheduler(log: Path, address: str = "tcp://127.0.0.1:0") -> tuple[subprocess.Popen[bytes], str]:
    """Start `dask scheduler`, which writes to *log*. Return the process and its address."""
    port = address.rpartition(":")[2]
    process = run_dask("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", log=log)
    deadline = time.monotonic() + 60
    while (found := re.search(r"Scheduler at:\s+(\S+)", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return process, found[1]


def start_worker(address: str) -> subprocess.Popen[bytes]:
    """Start `dask worker` with one process."""
    return run_dask("worker", address, "--no-nanny", "--nthreads", "2", "--no-dashboard")


def run_dask(*arguments: str, log: Path | None = None) -> subprocess.Popen[bytes]:
    with (log or Path(os.devnull)).open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=file, stderr=file)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
