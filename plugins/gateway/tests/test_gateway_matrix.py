"""Seven clients of other projects, each in a fork of one process; `make clients` runs more of them."""

from __future__ import annotations

import os
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
