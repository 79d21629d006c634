"""`kill -9` of a process with calls in progress: the ledger stays readable and accounts for every call."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore_testing import Simulator
from tests.kits.money import sum_ledger

KILLS = int(os.environ.get("LLMCORE_KILLS", "20"))
"""1,000 in the nightly form."""

PROGRAM = """
import importlib, json, os, sys, llmcore
from concurrent.futures import ThreadPoolExecutor

importlib.import_module("llmcore_openai_optimized.provider")  # the SDK, once for all that are killed

def run(number):
    core = llmcore.load(json.loads(sys.argv[1]))

    def ask(n):
        core.llm.chat(f"{number} {n}", cache=False, max_tokens=16)

    ask(-1)
    os.write(1, f"{os.getpid()}\\n".encode())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(100_000)))

while number := sys.stdin.readline().strip():
    child = os.fork()
    if child == 0:
        run(number)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
"""
"""Makes calls in a fork for each line of stdin, and writes the fork's process id when it has begun."""


@pytest.mark.timeout(900)
def test_every_call_is_accounted_for(tmp_path: Path) -> None:
    chance = random.Random(20261125)  # noqa: S311 - no secret
    with Simulator() as upstream:
        given: dict[str, Any] = {
            "llm": {
                "provider": "openai",
                "model": "gpt-5.6-luna",
                "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
            },
            "budget": {"limit": 1000},
            "cache": {"provider": "memory"},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        }
        command = [sys.executable, "-c", PROGRAM, json.dumps(given)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdin is not None
            assert parent.stdout is not None
            for number in range(KILLS):
                parent.stdin.write(f"{number}\n")
                parent.stdin.flush()
                child = int(parent.stdout.readline())
                upstream.wait_for_requests(upstream.counts["chat"] + chance.randrange(1, 40))
                os.kill(child, signal.SIGKILL)
            parent.stdin.close()
        assert parent.returncode == 0
        core = llmcore.load(given)
        (budget,) = core.usage.budgets()
        row, lost = sum_ledger(core), core.usage.open()
        assert upstream.counts["chat"] <= row.requests
        assert (
            row.requests - upstream.counts["chat"] <= 4 * KILLS
        )  # reserved, and killed before they were sent
        assert {each["state"] for each in lost} <= {"lost"}
        assert len(lost) == row.unsettled <= 4 * KILLS
        assert budget.reserved == 0
        assert budget.spent == row.cost + row.uncertain
        assert row.uncertain == sum(Decimal(each["cost"]) for each in lost)
