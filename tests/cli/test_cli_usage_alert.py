"""`llmcore usage alert` lists the alerts of budgets, and `--test` sends one to each receiver."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kits.alerts import Hook
from tests.kits.cli import CommandLine

BASE = '[llm]\nprovider = "echo"\n[budget]\nlimit = "5.00 USD"\nper = "day"\n'


def make_cli(folder: Path, text: str) -> CommandLine:
    cli = CommandLine(folder)
    (cli.folder / "llmcore.toml").write_text(BASE + text)
    return cli


def test_the_alerts_are_listed(tmp_path: Path) -> None:
    cli = make_cli(
        tmp_path,
        'alert_at = [0.5, 1]\nalert_faster_than = 3\nalert_command = ["true"]\n'
        '[[budgets]]\nlimit = 1\ntag = "x"\nalert_url = "http://localhost:1/"\n[[budgets]]\nlimit = 2\nuser = "ann"\n',
    )
    done = cli("usage", "alert")
    assert done.returncode == 0
    head, first, second = done.stdout.splitlines()
    assert head.split() == ["budget", "at", "faster", "than", "sent", "to"]
    assert first.split() == ["day", "0.5,", "1", "3", "usual", "days", "log,", "alert_command"]
    assert second.split() == ["total", "tag=x", "log,", "alert_url"]
    assert "neither `alert_at` nor `alert_faster_than`" in done.stderr
    first = json.loads(cli("usage", "alert", "--json").stdout)["alerts"][0]
    assert first == {"budget": "day", "at": [0.5, 1.0], "faster_than": 3.0, "receivers": ["alert_command"]}


def test_without_alerts_it_says_how_to_add_one(tmp_path: Path) -> None:
    done = make_cli(tmp_path, "")("usage", "alert")
    assert (done.returncode, done.stdout) == (0, "")
    assert "budget.alert_at" in done.stderr
    done = make_cli(tmp_path, "alert_at = [0.5]\n")("usage", "alert", "--test")
    assert (done.returncode, done.stdout) == (1, "")
    assert "budget.alert_url" in done.stderr


def test_a_test_reaches_each_receiver_and_uses_up_no_alert(tmp_path: Path, hook: Hook) -> None:
    text = f'alert_at = [0.5]\nalert_url = "{hook.url}"\nalert_slack_url = "env:SLACK"\n'
    cli = make_cli(tmp_path, text)
    done = cli("usage", "alert", "--test", SLACK=hook.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "sent    budget day to alert_url",
        "sent    budget day to alert_slack_url",
    ]
    event, message = hook.bodies
    assert (event["reason"], event["budget"], event["spent"]) == ("test", "day", "0")
    assert message == {"text": "llmcore: budget `day`: $0.00 of $5.00 spent; this is a test of the alert"}


def test_a_receiver_that_fails_is_named_without_its_address(tmp_path: Path, hook: Hook) -> None:
    cli = make_cli(tmp_path, f'alert_command = ["false"]\nalert_url = "{hook.url}"\n')
    hook.close()
    done = cli("usage", "alert", "--test", "--json")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)["deliveries"]
    assert first["receiver"] == "alert_url"
    assert first["error"].startswith("URLError")
    assert second == {"budget": "day", "receiver": "alert_command", "error": "CalledProcessError 1"}
    assert "canary" not in done.stdout + done.stderr
