"""Under load: a rolling restart and reloads lose no answer, and clients that leave leave nothing open.

`LLMCORE_GATEWAY_REQUESTS=1000` runs the long form.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_testing.simulator import Fault, Simulator
from tests.kits.gateway import MODEL, Command, make_config, serving, write_config
from tests.kits.gateway_load import Load
from tests.kits.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX"),
    pytest.mark.slow,
]

COUNT = int(os.environ.get("LLMCORE_GATEWAY_REQUESTS", "100"))


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def test_a_rolling_restart_loses_no_answer(upstream: Simulator, tmp_path: Path) -> None:
    configs = []
    for name in ("a", "b"):
        config = write_config(tmp_path / f"{name}.toml", upstream)
        config.write_text(config.read_text().replace("300ms", "3s"))
        configs.append(config)
    gateways = [Command(config) for config in configs]
    for gateway in gateways:
        gateway.wait_until_ready()
    chosen = gateways[0]
    load = Load(lambda: chosen.url, COUNT)  # a balancer, which sends to a gateway that is ready
    try:
        for number, config in enumerate(configs):
            load.wait_for(10)
            old = gateways[number]
            chosen = gateways[1 - number]
            old.process.send_signal(signal.SIGTERM)
            assert old.process.wait(60) == 0
            old.close()
            gateways[number] = Command(config)
            gateways[number].wait_until_ready()
        load.wait_for(10)
    finally:
        load.stop()
        for gateway in gateways:
            gateway.close()
    assert set(load.outcomes) == {"whole"}
    assert load.outcomes.total() >= COUNT


def test_reloads_lose_no_answer(upstream: Simulator, tmp_path: Path) -> None:
    gateway = Command(write_config(tmp_path / "llmcore.toml", upstream))
    gateway.wait_until_ready()
    load = Load(lambda: gateway.url, COUNT)
    try:
        for count in range(1, 4):
            load.wait_for(10)
            gateway.process.send_signal(signal.SIGHUP)
            wait_until(lambda: gateway.log().count("reloaded the configuration") == count)  # noqa: B023
        load.wait_for(10)
    finally:
        load.stop()
        gateway.close()
    assert set(load.outcomes) == {"whole"}


def test_clients_that_leave_leave_nothing_open(upstream: Simulator, tmp_path: Path) -> None:
    """Half of them leave before the first byte, the others inside the stream."""
    left = 0
    with serving(make_config(upstream, tmp_path)) as gateway:
        address = ("127.0.0.1", int(gateway.url.rpartition(":")[2]))
        for number in range(COUNT // 2):
            before_first_byte = number % 2 == 0
            if before_first_byte:
                upstream.hold()
            else:
                upstream.fail(Fault.slow(bytes_per_second=600))
            messages = [{"role": "user", "content": f"Question {number}"}]
            body = json.dumps({"model": MODEL, "messages": messages, "stream": True})
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            with socket.create_connection(address, timeout=60) as client:
                client.sendall((head + body).encode())
                received = b""
                upstream.wait_for_requests(number + 1, 60)
                while not before_first_byte and b"data: " not in received:
                    received += client.recv(1000)
            left += 1
            assert upstream.wait_for(lambda: upstream.in_flight == 0, 60), "the upstream is closed"
            upstream.release()
        wait_until(
            lambda: len([row for row in gateway.core.usage.export() if row["state"] == "failed"]) == left
        )
        rows = gateway.core.usage.export()
        assert all(row["uncertain"] for row in rows)
        assert not gateway.core.usage.open()
