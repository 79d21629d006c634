"""The example of batches runs: priced, interrupted, resumed, and sent through the vendor's queue."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "batch.py"


@pytest.mark.slow
def test_rows_are_classified_once_although_the_run_is_interrupted() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--rows", "200"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "resume it with: llmcore batch run reviews.csv" in done.stderr
    assert re.search(r"in the queue +\$[\d.]+ at least", done.stdout)
    sent = re.search(r"(\d+) requests before, (\d+) after", done.stdout)
    assert sent is not None
    before, after = int(sent[1]), int(sent[2])
    assert before < 160 <= before + after <= 160 + before
    assert "200 of 200 rows are classified" in done.stdout
    assert "1 batch of 160 requests" in done.stdout
