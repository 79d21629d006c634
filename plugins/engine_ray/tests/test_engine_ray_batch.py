"""Batches on a Ray cluster of two processes: workers that die, tasks that run twice, programs that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmcore.core import Core
from llmcore_testing import Simulator
from tests.kits.engine_batches import ClusterBatches
from tests.kits.engines import find_children, make_config
from tests.kits.ray_processes import end_processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _end_processes() -> Iterator[None]:
    with end_processes():
        yield


def find_processes(command: bytes, pid: int | str = "self") -> list[int]:
    """Return the processes of the cluster that this process has started whose command matches a pattern."""
    found = []
    for child in find_children(pid):
        with contextlib.suppress(OSError):  # the process has ended
            line = Path(f"/proc/{child}/cmdline").read_bytes()
            found += [child] if re.match(command, line) else find_processes(command, child)
    return found


class TestRayBatches(ClusterBatches):
    engine = "ray"

    def find_worker(self, core: Core) -> int:
        del core
        return find_processes(rb"ray::(IDLE|call|llmcore)")[0]

    def test_a_cluster_that_dies_is_replaced(
        self, core: Core, upstream: Simulator, requests: Callable[[], int]
    ) -> None:
        run = core.llm.batch((f"g{number}" for number in range(400)), concurrency=8)
        results = iter(run)
        found = [next(results)]
        assert upstream.wait_for(lambda: requests() >= 110, 60)
        os.kill(find_processes(rb"[^\0]*/raylet\0")[0], signal.SIGKILL)
        found += results
        assert sorted(item.index for item in found if item.reply) == list(range(400))
        assert requests() <= 400 + 8

    @pytest.mark.timeout(900)
    def test_a_restarted_cluster_repeats_only_what_was_in_flight(
        self, upstream: Simulator, requests: Callable[[], int]
    ) -> None:
        ports = find_free_ports(2)
        config = make_config(
            upstream,
            "ray",
            engines={"ray": {"address": f"ray://127.0.0.1:{ports[1]}", "connect_timeout": "200s"}},
        )
        script = (
            "import json, sys, llmcore\n"
            "with llmcore.load(json.loads(sys.argv[1])) as core:\n"
            "    for item in core.llm.batch((f'e{number}' for number in range(400)), concurrency=4):\n"
            "        print(item.index if item.reply else item.error, flush=True)\n"
        )
        cluster = start_cluster(ports)
        try:
            with subprocess.Popen(
                [sys.executable, "-c", script, json.dumps(config)], stdout=subprocess.PIPE, text=True
            ) as program:
                assert program.stdout is not None
                try:
                    lines = [program.stdout.readline()]
                    stop(cluster)
                    cluster = start_cluster(ports)
                    lines += program.stdout
                    assert program.wait(60) == 0
                finally:
                    program.kill()
        finally:
            stop(cluster)
        assert sorted(int(line) for line in lines) == list(range(400))
        assert requests() <= 400 + 4

    def test_a_cluster_that_is_away_is_an_error(self, upstream: Simulator) -> None:
        options = {"address": "ray://127.0.0.1:9", "connect_timeout": "1s"}
        script = (
            "import json, sys, llmcore\n"
            "with llmcore.load(json.loads(sys.argv[1])) as core:\n"
            "    try:\n"
            "        list(core.llm.batch(['f']))\n"
            "    except llmcore.errors.EngineError as error:\n"
            "        print(error)\n"
        )
        config = make_config(upstream, "ray", engines={"ray": options})
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(config)],
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert "the Ray cluster ray://127.0.0.1:9 cannot be used: ConnectionRefusedError" in done.stdout, (
            done.stderr
        )


def find_free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def start_cluster(ports: list[int]) -> subprocess.Popen[bytes]:
    """Start a cluster of one node with two CPUs, and wait until it takes clients at the second port."""
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=2", "--port", str(ports[0]),
            "--ray-client-server-port", str(ports[1]), "--include-dashboard=false", "--disable-usage-stats",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while True:
        assert process.poll() is None, "`ray start` ended"
        assert time.monotonic() < deadline, "the cluster takes no clients"
        try:
            socket.create_connection(("127.0.0.1", ports[1]), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `ray start --block`, which ends its processes."""
    process.terminate()
    process.wait(60)
