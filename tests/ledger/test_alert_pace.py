"""`alert_faster_than`: one alert a day, among all processes, when a budget is spent faster than usual."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from tests.kits.alerts import Hook, wait_for_alerts
from tests.kits.money import ASK, EACH, make_config
from tests.kits.usage_rows import add_rows

DAY_S = 86400


def repeat_at_midnight(act: Callable[[int], None]) -> None:
    """Call *act* with a number, and again with the next one if a new day began in UTC meanwhile."""
    for number in range(3):
        day = time.time() // DAY_S
        try:
            act(number)
        except AssertionError:
            if time.time() // DAY_S == day:
                raise
        else:
            return


def make_settings(folder: Path, **budget: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    settings = make_config(folder, limit="9 USD", per="month", alert_faster_than=3.0, **budget)
    return {**settings, "observers": {"use": ["listener"]}}


def add_days(core: llmcore.Core, days: int, cost: Decimal, **row: Any) -> None:
    """Add a row with *cost* to each of the *days* before today."""
    start = time.time() // DAY_S * DAY_S
    nanos = int(cost * 10**9)
    base = {"call": "c", "attempt": 1, "state": "done", "kind": "llm", "provider": "scripted", "model": "default",
            "cost": nanos, **row}  # fmt: skip
    add_rows(core, [{"at": start - (days - number) * DAY_S + 3600, **base} for number in range(days)])


def test_one_alert_is_sent_when_a_day_costs_more_than_usual(
    scripted: Any, tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    def act(attempt: int) -> None:
        scripted.alerts.clear()
        hook.bodies.clear()
        caplog.clear()
        settings = make_settings(tmp_path / f"{attempt}", alert_slack_url=hook.url)
        with llmcore.load(settings) as core:
            add_days(core, 5, EACH)
        for part in range(2):  # two Cores, like two processes
            with llmcore.load(settings) as core, caplog.at_level(logging.WARNING, "llmcore"):
                for number in range(4):
                    core.llm.chat(f"{part} {number}", **ASK)
                    wait_for_alerts()
                    expected = 0 if (part, number) < (0, 3) else 1
                    assert len(hook.bodies) == expected, (part, number)
        (event,) = scripted.alerts
        assert (event.reason, event.today, event.usual, event.unit) == ("faster", 4 * EACH, EACH, "USD")
        assert event.spent >= event.today
        text = f"budget `month`: ${event.spent} of $9.00 spent; $0.05 of it today, and an average day costs $0.0125"
        assert hook.bodies == [{"text": f"llmcore: {text}"}]
        assert [record.message for record in caplog.records] == [text]

    repeat_at_midnight(act)


def test_only_the_calls_of_the_budget_count(scripted: Any, tmp_path: Path) -> None:
    def act(attempt: int) -> None:
        scripted.alerts.clear()
        settings = make_settings(tmp_path / f"{attempt}", model="scripted:", tag="nightly", user="ann")
        settings["budgets"] = [settings.pop("budget")]
        with llmcore.load(settings) as core:
            add_days(core, 4, EACH, user="ann", tags='["nightly", "other"]')
            add_days(core, 4, 100 * EACH, user="ben")
            for number in range(5):
                core.llm.chat(f"ben {number}", user="ben", tags="nightly", **ASK)
            for number in range(4):
                wait_for_alerts()
                assert scripted.alerts == []
                core.llm.chat(f"ann {number}", user="ann", tags="nightly", **ASK)
            wait_for_alerts()
            (event,) = scripted.alerts
            assert (event.today, event.usual) == (4 * EACH, EACH)

    repeat_at_midnight(act)


@pytest.mark.parametrize("days", [0, 2])
def test_without_three_days_no_spending_is_unusual(scripted: Any, tmp_path: Path, days: int) -> None:
    scripted.alerts.clear()
    with llmcore.load(make_settings(tmp_path)) as core:
        add_days(core, days, EACH / 1000)
        core.llm.chat("one", **ASK)
        wait_for_alerts()
    assert scripted.alerts == []


def test_a_ledger_that_cannot_be_read_is_logged_once_and_fails_no_call(
    scripted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    del scripted
    with llmcore.load(make_settings(tmp_path)) as core, caplog.at_level(logging.WARNING, "llmcore"):
        ledger = core.backend("ledger").provider

        def fail(*_: Any) -> None:
            raise OSError("a disk that is broken")

        monkeypatch.setattr(ledger, "aggregate", fail)
        for number in range(4):
            assert core.llm.chat(f"{number}", **ASK).text
            wait_for_alerts()
    (record,) = caplog.records
    assert (
        record.message
        == "`alert_faster_than` of budget `month` could not be checked: OSError: a disk that is broken"
    )


def test_a_check_that_the_last_call_caused_ends_before_the_program(
    scripted: Any, tmp_path: Path, hook: Hook
) -> None:
    del scripted
    plugins = Path(__file__).parents[1] / "fixtures" / "scripted"

    def act(attempt: int) -> None:
        hook.bodies.clear()
        settings = make_settings(tmp_path / f"{attempt}", alert_url=hook.url)
        with llmcore.load(settings) as core:
            add_days(core, 5, EACH / 1000)
        code = f"""
import sys, threading, time
sys.path.insert(0, {str(plugins)!r})
import llmcore
core = llmcore.load({settings!r})
ledger = core.backend("ledger").provider
aggregate = ledger.aggregate
def wait_for_the_end(*args, **named):
    threading.main_thread().join()
    time.sleep(0.3)  # a daemon thread would not live as long
    return aggregate(*args, **named)
ledger.aggregate = wait_for_the_end
core.llm.chat("one", **{ASK!r})
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
        assert [body["reason"] for body in hook.bodies] == ["faster"]

    repeat_at_midnight(act)
