"""Seven clients of other projects, each in a process of its own; `make clients` runs more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway_clients import PYTHON

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("client", PYTHON)
def test_a_client_of_another_project_works_with_the_gateway(client: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.gateway_clients", client],
        cwd=ROOT,
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count(": ok\n") >= 6
