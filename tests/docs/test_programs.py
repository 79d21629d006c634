"""Whole programs as users write them, in separate processes, against servers with real HTTP."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_testing import Simulator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OWN_PLUGIN = ROOT / "tests" / "fixtures" / "scripted"

OPENAI = """
[llm]
provider = "openai"
model = "gpt-4o-mini"

[cache]
provider = "file"
"""


def run(program: Path, *, config: str = "", python_path: Path | None = None, **variables: str) -> str:
    """Run *program* in an empty folder with *config* in it, and return what it printed."""
    if config:
        Path("llmcore.toml").write_text(config)
    environment = {**os.environ, **variables}
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    command = [sys.executable, "-W", "error::ResourceWarning", str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(params=["simulator", "aimock"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of an OpenAI-compatible server: ours, and one that we did not write."""
    if request.param == "simulator":
        with Simulator() as upstream:
            yield upstream.base_url
        return
    command = os.environ.get("LLMCORE_AIMOCK")
    if not command:
        pytest.skip("aimock is not installed (make aimock)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fixtures = ROOT / "tests" / "fixtures" / "aimock"
    server = subprocess.Popen(
        ["node", command, "-p", str(port), "-f", str(fixtures), "--log-level", "warn"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "AIMOCK_API_KEYS": "sk-test"},
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for(port: int) -> None:
    """Return when something listens on *port*."""
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.02)
        else:
            return


def test_the_first_program_runs_as_printed(address: str) -> None:
    out = run(
        EXAMPLES / "first_program.py", config=OPENAI, OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=address
    ).splitlines()
    assert out[0]
    assert re.fullmatch(r"\d+ \d+ 0\.\d+ False gpt-4o-mini\S* openai", out[1])
    assert out[2] == "again: True"
    assert out[3]
    assert re.fullmatch(r"\d+ tokens, (exact|estimated)", out[4])
    assert out[5] == "2 calls were asked"


def test_the_familiar_names_work_as_printed(address: str) -> None:
    out = run(EXAMPLES / "familiar_names.py", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=address).splitlines()
    assert out[0].startswith(
        "144 144 {'hits': 1, 'misses': 1, 'errors': 0, 'hit_rate': 0.5, 'total_requests': 2"
    )
    assert out[1] == "{'name': 'Ann'} True None"
    assert out[2] == "None True"
    assert re.match(r"2 \d+$", out[3])
    assert "'savings_percent': 50.0" in out[4]
    assert out[5]
    assert out[6]
    assert "'request_count': 2" in out[7]
    assert out[8] == "gpt-4o-mini"


def test_the_six_scenarios_of_openai_come_out(address: str) -> None:
    out = run(
        EXAMPLES / "openai_optimized.py", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=address
    ).splitlines()
    usd = r"\$0\.\d{6}"
    for line, said in zip(
        out,
        (
            r"basic use: .+",
            r"counting: 2 tokens of text, \d+ of a request \((exact|about)\)",
            r"caching: the same answer, 1 request",
            r"cost tracking: 10,000 tokens in and 1,000 out cost " + usd,
            r"cost tracking: a batch saves 50 %, " + usd,
            r"cost tracking: 2 requests, " + usd + " so far",
            r"batch of prompts: 3 answers",
            r"chat: 5 messages, the last one: .+",
        ),
        strict=True,
    ):
        assert re.fullmatch(said, line), line


def test_a_voice_speaks_as_printed() -> None:
    out = run(EXAMPLES / "voice.py").splitlines()
    assert re.fullmatch(r"espeak: \d+\.\d s, 77 characters, 0 USD", out[0])
    assert out[1] == "wrote story.wav"
    assert out[2] == "after one change, paid for 25 of 80 characters"
    assert re.fullmatch(r"streamed \d{5,} bytes", out[3])
    assert out[4] == "the first word begins at {'O': 0.0}"
    assert out[5].startswith("refused: the SSML is not well-formed")
    assert Path("story.wav").read_bytes()[:4] == b"RIFF"


def test_one_application_runs_unchanged_under_three_configurations() -> None:
    program = EXAMPLES / "first_program.py"
    echo = run(program, config='[llm]\nprovider = "echo"\n\n[cache]\nprovider = "memory"\n').splitlines()
    with Simulator() as upstream:
        openai = run(
            program, config=OPENAI, OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=upstream.base_url
        ).splitlines()
    own = run(
        program,
        config='[llm]\nprovider = "scripted"\n\n[cache]\nprovider = "memory"\n',
        python_path=OWN_PLUGIN,
    ).splitlines()
    assert [out[1].split()[-1] for out in (echo, openai, own)] == ["echo", "openai", "scripted"]
    assert [out[2] for out in (echo, openai, own)] == ["again: True"] * 3
    assert [out[-1] for out in (echo, openai, own)] == ["2 calls were asked"] * 3
