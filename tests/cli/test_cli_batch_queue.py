"""`llmcore batch` with the lane `queue`: kills at any moment create no batch twice, and `cancel` ends the vendor's batches."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore_testing.simulator import Fault, Simulator

ITEMS = 60
RUN = ("run", "in.jsonl", "-o", "out.jsonl", "--lane", "queue", "-p", "max_tokens=50")


@pytest.fixture(params=["openai", "anthropic"])
def upstream(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator(holds_batches=True) as simulator:
        monkeypatch.setenv("UPSTREAM_KEY", "sk-test")
        name = request.param
        url = simulator.base_url if name == "openai" else simulator.url
        model = "gpt-4o-mini" if name == "openai" else "claude-sonnet-4-5"
        Path("llmcore.toml").write_text(
            f'[llm]\nprovider = "{name}"\nmodel = "{name}:{model}"\n\n[llm.{name}]\nbase_url = "{url}"\n'
            'api_key = "env:UPSTREAM_KEY"\n\n[cache]\nprovider = "memory"\n'
        )
        lines = [json.dumps({"prompt": f"q{number % 50}"}) for number in range(ITEMS)]
        Path("in.jsonl").write_text("\n".join(lines))
        yield simulator


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "llmcore", "batch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmcore", "batch", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def read_rows() -> list[dict[str, Any]]:
    with llmcore.load() as core:
        return list(core.usage.export())


@pytest.mark.slow
def test_kills_create_no_batch_twice_and_book_each_answer_once(upstream: Simulator) -> None:
    upstream.fail(Fault.slow(60), path="batches")  # the batch exists, and its creator never hears of it
    creator = start(*RUN)
    upstream.wait_for(lambda: upstream.counts["batches"] == 1)
    kill(creator)
    chance = random.Random(7)  # noqa: S311 - moments, no secrets
    for number in range(3):
        process = start(*RUN)
        aim = upstream.counts["requests"] + chance.randint(1, 3)
        upstream.wait_for(lambda aim=aim: upstream.counts["requests"] >= aim)  # type: ignore[misc]
        if number == 1:
            upstream.finish_batches()
        kill(process)
    done = run(*RUN)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == [f"q{number % 50}" for number in range(ITEMS)]
    assert all(line["answer"] for line in lines)
    assert (upstream.counts["batches"], upstream.counts["batch_items"]) == (1, 50)
    rows = read_rows()
    assert [row["state"] for row in rows] == ["done"] * 50
    assert {row["tier"] for row in rows} == {"batch"}


def test_cancel_ends_the_batch_and_books_what_it_did(upstream: Simulator) -> None:
    process = start(*RUN)
    upstream.wait_for(lambda: upstream.counts["status_200"] >= 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert "resume it with: llmcore batch run in.jsonl -o out.jsonl" in err
    assert "--lane queue" in err
    upstream.finish_batches(0.5)
    listed = json.loads(run("list", "--json").stdout)["runs"][0]
    assert (listed["state"], listed["queued"]) == ("unfinished", 50)
    cancelled = run("cancel", listed["run"])
    assert cancelled.returncode == 0, cancelled.stderr
    assert (upstream.counts["batches_cancelled"], upstream.counts["batch_items"]) == (1, 25)
    assert [row["state"] for row in read_rows()] == ["done"] * 25
    assert json.loads(run("list", "--json").stdout)["runs"] == []


def test_a_dry_run_prices_both_lanes(upstream: Simulator) -> None:
    found = json.loads(run(*RUN, "--dry-run", "--json").stdout)
    assert found["has_queue"] is True
    assert float(found["queue_likely"]) == pytest.approx(float(found["cost_likely"]) / 2)
    assert "in the queue" in run(*RUN, "--dry-run").stdout
    assert upstream.counts["requests"] == 0
