"""Calls to a simulator, by a demo, a check or a test, do not spend the user's budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore_testing import Simulator
from llmcore_testing.simulator.separate_ledger import VARIABLE

PROGRAM = """
import json, sys, llmcore
core = llmcore.load(json.loads(sys.argv[1]))
core.llm.chat("Hello", max_tokens=16)
print(core.usage.budgets()[0].spent)
"""
TEST = """
import llmcore

def test_the_application(llmcore_simulator):
    openai = {"api_key": "sk-test", "base_url": llmcore_simulator.base_url}
    core = llmcore.load({"llm": {"provider": "openai", "model": "gpt-4o", "openai": openai}, "budget": {"limit": 1}})
    core.llm.chat("Hello", max_tokens=16)
    assert core.usage.budgets()[0].spent > 0
"""


def make_settings(upstream: Simulator) -> dict[str, Any]:
    return {
        "llm": {
            "provider": "openai",
            "model": "gpt-4o",
            "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
        },
        "budget": {"limit": 1},
    }


def list_ledgers(home: Path) -> list[Path]:
    return [*home.rglob("ledger.sqlite3*")]


def test_a_core_that_calls_a_simulator_uses_a_separate_ledger(empty_home: Path) -> None:
    with Simulator() as upstream, llmcore.load(make_settings(upstream)) as core:
        core.llm.chat("Hello", max_tokens=16)
        assert core.usage.budgets()[0].spent > 0
        child = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(make_settings(upstream))],
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(child.stdout) > 0
        folder = Path(os.environ[VARIABLE]).parent
    assert list_ledgers(empty_home) == []
    assert VARIABLE not in os.environ
    assert not folder.exists()
    with llmcore.load({"budget": {"limit": 1}}) as core:
        assert core.usage.budgets()[0].spent == 0
    assert list_ledgers(empty_home) != []


def test_simulators_share_one_until_the_last_is_closed() -> None:
    first, second = Simulator().start(), Simulator().start()
    first.start()
    path = os.environ[VARIABLE]
    first.close()
    first.close()
    assert os.environ[VARIABLE] == path
    second.close()
    assert VARIABLE not in os.environ


def test_a_ledger_that_is_configured_or_given_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "given"))
    with Simulator() as upstream:
        assert llmcore.load(make_settings(upstream)).settings.ledger.path == str(tmp_path / "given")
        own = {**make_settings(upstream), "ledger": {"path": str(tmp_path / "own")}}
        assert llmcore.load(own).settings.ledger.path == str(tmp_path / "own")
    assert os.environ[VARIABLE] == str(tmp_path / "given")


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "llmcore", "demo"],
        ["-m", "llmcore", "plugins", "check", "echo"],
        [
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "llmcore_testing.pytest_plugin",
            "test_application.py",
        ],
    ],
    ids=["demo", "plugins check", "pytest"],
)
def test_simulated_calls_are_not_in_the_ledger_of_the_user(empty_home: Path, command: list[str]) -> None:
    Path("test_application.py").write_text(TEST, encoding="utf-8")
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # their import takes longer than the run
    done = subprocess.run(
        [sys.executable, *command], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_ledgers(empty_home) == []
