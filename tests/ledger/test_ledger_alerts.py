"""Alerts are sent once a period to the log, the observers, a webhook and a command; a failure affects no call."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from tests.kits.alerts import Hook, wait_for_alerts
from tests.kits.money import ASK, make_config


def test_each_fraction_is_sent_once_to_each_receiver(
    scripted: Any, tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "alerts"
    command = [
        sys.executable,
        "-c",
        f"import sys; open({str(file)!r}, 'a').write(sys.stdin.read() + chr(10))",
    ]
    settings = make_config(
        tmp_path,
        limit="0.05 USD",
        per="day",
        alert_at=[0.5, 0.75, 1.0],
        alert_url=hook.url,
        alert_command=command,
    )
    settings["observers"] = {"use": ["listener"]}
    scripted.alerts.clear()
    with caplog.at_level(logging.WARNING, "llmcore"):
        for part in range(2):  # two Cores, like two processes
            with llmcore.load(settings) as core:
                for n in range(2):
                    core.llm.chat(f"{part} {n}", **ASK)
                    wait_for_alerts()
    fractions = [0.5, 0.75, 1.0]
    assert [event.fraction for event in scripted.alerts] == fractions
    assert scripted.alerts[-1].spent == Decimal("0.05")
    assert [body["fraction"] for body in hook.bodies] == fractions
    assert [json.loads(line)["fraction"] for line in file.read_text().splitlines()] == fractions
    assert [record.message for record in caplog.records] == [
        "budget `day`: $0.025 of $0.05 spent", "budget `day`: $0.0375 of $0.05 spent", "budget `day`: $0.05 of $0.05 spent"
    ]  # fmt: skip


def test_a_failed_alert_affects_no_call_and_its_url_is_not_logged(
    scripted: Any, tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    del scripted
    hook.close()
    settings = make_config(
        tmp_path, limit="0.02 USD", alert_at=[0.5], alert_url=hook.url, alert_command=["no-such-program-here"]
    )
    with llmcore.load(settings) as core, caplog.at_level(logging.WARNING, "llmcore"):
        assert core.llm.chat("one", **ASK).text
        wait_for_alerts()
    assert len([record for record in caplog.records if "could not be sent" in record.message]) == 2
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    "case",
    [
        ("https://localhost:1/?token=canary", "SSL_CERT_FILE", "/no/such/file.pem"),
        ("http://hook.invalid/?token=canary", "HTTP_PROXY", "htp://user:canary@proxy"),
    ],
    ids=lambda case: case[1],
)
def test_the_log_names_the_variable_that_prevents_an_alert(
    scripted: Any,
    case: tuple[str, str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del scripted
    url, variable, value = case
    settings = make_config(tmp_path, limit="0.02 USD", alert_at=[0.5], alert_url=url)
    with llmcore.load(settings) as core, caplog.at_level(logging.WARNING, "llmcore"):
        monkeypatch.setenv(variable, value)
        assert core.llm.chat("one", **ASK).text
        wait_for_alerts()
    (message,) = (record.message for record in caplog.records if "could not be sent" in record.message)
    assert variable in message
    assert "canary" not in caplog.text


def test_an_alert_does_not_delay_its_call_if_no_thread_can_be_started(
    scripted: Any, tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    del scripted
    started = threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with llmcore.load(make_config(tmp_path, limit="1 USD", alert_at=[0.01], alert_url=hook.url)) as core:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        core.llm.chat("one", **ASK)
        assert not hook.bodies
        monkeypatch.setattr(threading.Thread, "start", started)
        core.llm.chat("two", **ASK)
        wait_for_alerts()
    assert [body["fraction"] for body in hook.bodies] == [0.01]


def test_an_alert_that_found_no_thread_is_sent_at_the_end_of_the_program(tmp_path: Path, hook: Hook) -> None:
    plugins = Path(__file__).parents[1] / "fixtures" / "scripted"
    code = f"""
import sys, threading
sys.path.insert(0, {str(plugins)!r})
import llmcore
def refuse(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
core = llmcore.load({make_config(tmp_path, limit="1 USD", alert_at=[0.01], alert_url=hook.url)!r})
core.llm.chat("one", **{ASK!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert [body["fraction"] for body in hook.bodies] == [0.01]


def test_an_alert_caused_in_a_daemon_thread_is_sent_before_the_program_ends(
    tmp_path: Path, hook: Hook
) -> None:
    plugins = Path(__file__).parents[1] / "fixtures" / "scripted"
    code = f"""
import sys, threading
sys.path.insert(0, {str(plugins)!r})
import llmcore
core = llmcore.load({make_config(tmp_path, limit="1 USD", alert_at=[0.01], alert_url=hook.url)!r})
thread = threading.Thread(target=core.llm.chat, args=("one",), kwargs={ASK!r}, daemon=True)
thread.start()
thread.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert [body["fraction"] for body in hook.bodies] == [0.01]
