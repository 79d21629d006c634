"""Alerts: told once a period to the log, the observers, a webhook and a command; whoever fails is in nobody's way."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import llmcore
from tests.kit_money import ASK, config


class Hook:
    """A webhook's server that keeps what it is sent."""

    def __init__(self) -> None:
        bodies = self.bodies = []  # type: list[Any]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=canary"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    thread = threading.Thread(target=hook.server.serve_forever, args=(0.01,))
    thread.start()
    yield hook
    hook.server.shutdown()
    thread.join()
    hook.server.server_close()


def told() -> None:
    """Wait until every alert on its way has arrived."""
    for thread in threading.enumerate():
        if thread.name == "llmcore-alert":
            thread.join()


def test_each_fraction_is_told_once_to_everybody(
    scripted: Any, tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "told"
    command = [
        sys.executable,
        "-c",
        f"import sys; open({str(file)!r}, 'a').write(sys.stdin.read() + chr(10))",
    ]
    given = config(
        tmp_path,
        limit="0.05 USD",
        per="day",
        alert_at=[0.5, 0.75, 1.0],
        alert_url=hook.url,
        alert_command=command,
    )
    given["observers"] = {"use": ["listener"]}
    scripted.alerts.clear()
    with caplog.at_level(logging.WARNING, "llmcore"):
        for part in range(2):  # two Cores, as two processes would
            with llmcore.load(given) as core:
                for n in range(2):
                    core.llm.chat(f"{part} {n}", **ASK)
                    told()
    fractions = [0.5, 0.75, 1.0]
    assert [event.fraction for event in scripted.alerts] == fractions
    assert scripted.alerts[-1].spent == Decimal("0.05")
    assert [body["fraction"] for body in hook.bodies] == fractions
    assert [json.loads(line)["fraction"] for line in file.read_text().splitlines()] == fractions
    assert [record.message for record in caplog.records] == [
        "budget `day`: $0.025 of $0.05 spent", "budget `day`: $0.0375 of $0.05 spent", "budget `day`: $0.05 of $0.05 spent"
    ]  # fmt: skip


def test_one_that_cannot_be_told_is_in_nobodys_way_and_its_address_is_not_shown(
    scripted: Any, tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    del scripted
    hook.server.socket.close()
    given = config(
        tmp_path, limit="0.02 USD", alert_at=[0.5], alert_url=hook.url, alert_command=["no-such-program-here"]
    )
    with llmcore.load(given) as core, caplog.at_level(logging.WARNING, "llmcore"):
        assert core.llm.chat("one", **ASK).text
        told()
    assert len([record for record in caplog.records if "could not be told" in record.message]) == 2
    assert "canary" not in caplog.text
