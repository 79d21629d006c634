"""Batches on a Dask cluster of two processes: workers that die, tasks that run twice, programs that are killed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import EngineError
from llmcore_testing import Simulator
from tests.kits.dask_processes import start_scheduler, start_worker, stop
from tests.kits.engine_batches import ClusterBatches
from tests.kits.engines import make_config

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0


class TestDaskBatches(ClusterBatches):
    engine = "dask"

    def find_worker(self, core: Core) -> int:
        pids: dict[str, int] = core.backend("engines").provider._client.run(os.getpid)
        return next(iter(pids.values()))

    def test_a_restarted_scheduler_repeats_nothing(
        self, upstream: Simulator, requests: Callable[[], int], tmp_path: Path
    ) -> None:
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

    def test_a_scheduler_that_is_away_is_an_error(self, upstream: Simulator) -> None:
        dask = {"address": "tcp://127.0.0.1:9", "connect_timeout": "1s"}
        with (
            llmcore.load(make_config(upstream, "dask", engines={"dask": dask})) as core,
            pytest.raises(EngineError, match=r"the Dask cluster tcp://127\.0\.0\.1:9 cannot be used"),
        ):
            list(core.llm.batch(["f"]))

    @pytest.mark.parametrize(
        ("address", "reason"),
        [
            ("http://127.0.0.1:9", "unknown address scheme 'http'"),
            ("tcp://127.0.0.1", "missing port number"),
            ("tls://127.0.0.1:9", "check your TLS configuration"),
        ],
    )
    def test_an_address_that_cannot_be_used_is_an_error_at_once(
        self, upstream: Simulator, address: str, reason: str
    ) -> None:
        dask = {"address": address, "connect_timeout": "10m"}
        with (
            llmcore.load(make_config(upstream, "dask", engines={"dask": dask})) as core,
            pytest.raises(EngineError, match=reason),
        ):
            list(core.llm.batch(["f"]))

    def test_a_server_that_is_silent_is_an_error(self, upstream: Simulator) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            dask = {"address": f"tcp://127.0.0.1:{silent.getsockname()[1]}", "connect_timeout": "100ms"}
            with (
                llmcore.load(make_config(upstream, "dask", engines={"dask": dask})) as core,
                pytest.raises(EngineError, match="cannot be used"),
            ):
                list(core.llm.batch(["f"]))

    def test_work_that_cannot_be_sent_is_refused_at_once_and_keeps_the_connection(
        self, upstream: Simulator
    ) -> None:
        dask = {"workers": 1, "connect_timeout": "10m"}
        with llmcore.load(make_config(upstream, "dask", engines={"dask": dask})) as core:
            engine = core.backend("engines").provider
            first = engine.submit(bytes.upper, b"a")
            lock = threading.Lock()
            with pytest.raises(EngineError, match="Dask refused the work: TypeError"):
                engine.submit(lambda data: (lock, data)[1], b"b")
            assert first.result(PATIENCE_S) == b"A"

    def test_a_cluster_without_workers_is_warned_about_once(
        self, upstream: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        scheduler, address = start_scheduler(tmp_path / "empty")
        try:
            with llmcore.load(make_config(upstream, "dask", engines={"dask": {"address": address}})) as core:
                provider = core.backend("engines").provider
                assert (provider.count_slots(), provider.count_slots()) == (1, 1)
        finally:
            stop(scheduler)
        assert caplog.messages == [f"the Dask cluster {address} has no workers; the batch waits for a worker"]
