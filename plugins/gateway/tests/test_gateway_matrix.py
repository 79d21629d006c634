"""Seven clients of other projects, each in a fork of one process; `make clients` runs more of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway_clients import PYTHON
from tests.kits.once import make_once

ROOT = Path(__file__).parents[3]


def _run(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        subprocess.run(
            [sys.executable, "-m", "tests.gateway_clients", *PYTHON],
            cwd=ROOT, env={**os.environ, "LLM_USER_PATH": str(folder)}, check=False, stdout=out, stderr=err, timeout=800,
        )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all clients in forks of one process, once for all workers, and return the folder with their output."""
    return make_once(tmp_path_factory, "gateway-clients", _run)


BROKEN = """
import os, signal, sys
from tests import gateway_clients
from tests.kits import gateway_cases

def check(url):
    answer = "Hola"
    assert answer == "Hello"

gateway_clients.SHARED = ()
gateway_cases.CLIENTS = {
    "killed": lambda: {"tools": lambda url: os.kill(os.getpid(), signal.SIGKILL)},
    "left": lambda: {"tools": lambda url: os._exit(0)},
    "raised": lambda: {}["cases"],
    "wrong": lambda: {"tools": check, "chat": lambda url: None, "models": lambda url: None},
}
sys.exit(gateway_clients.main(list(gateway_cases.CLIENTS)))
"""


def test_a_client_that_crashes_or_gets_a_wrong_answer_is_reported(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text(BROKEN)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 1, done.stderr
    assert re.sub(r":\d+\)", ")", done.stdout).splitlines() == [
        "killed",
        "  process: FAILED: killed by SIGKILL before all cases were tried",
        "left",
        "  process: FAILED: ended with exit code 0 before all cases were tried",
        "raised",
        "  process: FAILED: ended with exit code 1 before all cases were tried",
        "wrong",
        '  tools: FAILED: AssertionError: assert answer == "Hello" (broken.py)',
        "  chat: FAILED: AssertionError: the upstream received no request (gateway_clients.py)",
        "  models: ok",
    ]
    assert "KeyError: 'cases'" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", PYTHON)
def test_a_client_of_another_project_works_with_the_gateway(client: str, folder: Path) -> None:
    cases, printing = [], ""
    for line in (folder / "out").read_text().splitlines():
        if not line.startswith("  "):
            printing = line
        elif printing == client:
            cases.append(line)
    assert len(cases) >= 6, (folder / "err").read_text()[-2000:]
    assert [case for case in cases if not case.endswith(": ok")] == []
