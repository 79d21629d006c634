"""The progress of `llmcore batch run`: a bar on a terminal, nothing but the end elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_testing.simulator import Fault, Simulator

COMMAND = (sys.executable, "-m", "llmcore", "batch", "run", "in.jsonl", "-o", "-", "--concurrency", "1")


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as simulator:
        monkeypatch.setenv("UPSTREAM_KEY", "sk-test")
        Path("llmcore.toml").write_text(
            '[llm]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n\n[llm.openai]\n'
            f'base_url = "{simulator.base_url}"\napi_key = "env:UPSTREAM_KEY"\n'
        )
        Path("in.jsonl").write_text("\n".join(json.dumps({"prompt": f"q{number}"}) for number in range(12)))
        simulator.fail(Fault.slow(0.1), times=None)
        yield simulator


FACTS = {
    120: r"[\d.]+/s, \$[\d.]+ so far, \d+% cached, 0 failed, about \$[\d.]+ to come, \d+ s left",
    80: r"[\d.]+/s, \$[\d.]+ so far, .*\d+ s left",
    60: r"\$[\d.]+ so far, .*\d+ s left",
}
"""What a bar tells, by the width of the terminal."""


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("columns", FACTS)
def test_a_terminal_gets_a_bar_on_stderr_and_stdout_only_answers(columns: int) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, columns))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:  # the terminal has no more writers
            pass
        os.close(ours)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        assert process.wait(timeout=60) == 0
    assert [json.loads(line)["prompt"] for line in lines] == [f"q{number}" for number in range(12)]
    bars = [line for line in re.split(r"[\r\n]+", shown.decode()) if "|" in line]
    assert re.search(rf"\d+% \|.{{9,}}\| \d+/12, .*{FACTS[columns]}", "\n".join(bars)), shown
    assert max(map(len, bars)) <= columns


@pytest.mark.usefixtures("upstream")
def test_another_output_gets_lines_without_control_characters() -> None:
    done = subprocess.run(COMMAND, capture_output=True, check=True, timeout=60)
    first, second = done.stderr.decode().splitlines()
    assert first.startswith("12 answered, 0 failed, 12 different requests")
    assert second.startswith("estimated $")
