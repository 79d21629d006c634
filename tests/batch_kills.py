"""Kill `llmcore batch run` at random moments, in both lanes, and count created batches, sent requests and ledger rows.

The long form is `make figures ARGS="kills"`. The working folder and the home must be empty.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import llmcore
from llmcore_testing.simulator import Fault, Simulator

WIDTH: Final = 8
"""Requests in flight, in the lane `now`."""
ROUND: Final = 5
"""Kills of one run in the lane `queue`."""
MODELS: Final = {"openai": "openai:gpt-4o-mini", "anthropic": "anthropic:claude-sonnet-4-5"}


def measure_kills(items: int = 10_000, kills: int = 100) -> dict[str, Any]:
    """Kill a run of *items* in the lane `now` *kills* times, and runs in the lane `queue` as often."""
    os.environ["UPSTREAM_KEY"] = "sk-test"
    queued = {f"queue_{name}": kill_queued(name, kills // 2) for name in MODELS}
    return {**queued, "now": kill_live(items, kills)}


def kill_live(items: int, kills: int) -> dict[str, int]:
    """Kill one run *kills* times."""
    chance = random.Random(7)  # noqa: S311 - moments, no secrets
    with Simulator() as upstream:
        write_files(upstream, "openai", [f"q{number}" for number in range(items)], "live")
        upstream.fail(Fault.slow(0.005), times=None)
        command = ("run", "live.jsonl", "-o", "live-out.jsonl", "--concurrency", str(WIDTH))
        Path("in.jsonl").rename("live.jsonl")
        killed = sum(
            kill_after(upstream, command, chance.randint(1, items // kills - WIDTH)) for _ in range(kills)
        )
        finish(command)
        sent = upstream.counts["requests"]
        rows = read_rows()
    lines = read_lines("live-out.jsonl")
    booked = [row for row in rows if row["state"] != "hit"]
    return {
        "kills": killed,
        "lines": len(lines),
        "lines_in_order": sum(line["prompt"] == f"q{number}" for number, line in enumerate(lines)),
        "answered": sum(bool(line["answer"]) for line in lines),
        "sent_again": sent - items,
        "most_sent_again": WIDTH * killed,
        "unbooked": max(0, sent - len(booked)),
        "open_rows": sum(row["state"] == "open" for row in booked),
    }


def kill_queued(provider: str, kills: int) -> dict[str, int]:
    """Kill runs of 60 lines, each `ROUND` times: while a batch is created, during the wait, and while results are read."""
    chance = random.Random(provider)  # noqa: S311 - moments, no secrets
    found: Counter[str] = Counter()
    for round_ in range(kills // ROUND):
        with Simulator(holds_batches=True) as upstream:
            prompts = [f"{provider} {round_} {number % 50}" for number in range(60)]
            if chance.random() < 0.5:  # the batch is created, and its creator does not hear of it
                upstream.fail(Fault.slow(60), path="batches")
            output = f"{provider}-{round_}.jsonl"
            write_files(upstream, provider, prompts, output)
            command = ("run", "in.jsonl", "-o", output, "--lane", "queue", "-p", "max_tokens=50")
            for number in range(ROUND):
                if number == ROUND - 2:
                    upstream.finish_batches()
                if not kill_after(upstream, command, chance.randint(1, 4)):
                    break  # the run has finished
                found["kills"] += 1
            else:
                upstream.finish_batches()
                finish(command)
            rows = [row for row in read_rows() if row["state"] != "hit"]
            lines = read_lines(output)
            found["runs"] += 1
            found["created_twice"] += upstream.counts["batches"] - 1
            found["paid_twice"] += upstream.counts["batch_items"] - 50
            found["answered"] += sum(
                bool(line["answer"]) and line["prompt"] == prompt
                for line, prompt in zip(lines, prompts, strict=True)
            )
            found["booked_twice_or_not"] += abs(sum(row["state"] == "done" for row in rows) - 50)
            found["open_rows"] += sum(row["state"] == "open" for row in rows)
    return dict(found)


def write_files(upstream: Simulator, provider: str, prompts: list[str], name: str) -> None:
    """Write the configuration, with the ledger *name*, and the input."""
    url = upstream.base_url if provider == "openai" else upstream.url
    Path("llmcore.toml").write_text(
        f'[llm]\nprovider = "{provider}"\nmodel = "{MODELS[provider]}"\n\n[llm.{provider}]\nbase_url = "{url}"\n'
        f'api_key = "env:UPSTREAM_KEY"\n\n[cache]\nprovider = "memory"\n\n[ledger]\npath = "{Path.cwd() / name}.sqlite3"\n'
    )
    Path("in.jsonl").write_text("\n".join(json.dumps({"prompt": prompt}) for prompt in prompts))


def kill_after(upstream: Simulator, command: tuple[str, ...], requests: int) -> bool:
    """Start *command* and kill it after *requests* more requests. Return False if the run had finished before."""
    process = start(command)
    aim = upstream.counts["requests"] + requests
    is_due: Callable[[], bool] = lambda: upstream.counts["requests"] >= aim or process.poll() is not None  # noqa: E731
    upstream.wait_for(is_due)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    if process.returncode not in {0, -signal.SIGKILL}:
        raise AssertionError(errors)
    return process.returncode != 0


def start(command: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start `llmcore batch`."""
    return subprocess.Popen(
        [sys.executable, "-m", "llmcore", "batch", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(command: tuple[str, ...]) -> None:
    """Run *command* to its end."""
    process = start(command)
    _, errors = process.communicate(timeout=3600)
    if process.returncode:
        raise AssertionError(errors)


def read_lines(path: str) -> list[dict[str, Any]]:
    """Return the lines of a JSONL file."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return [json.loads(line) for line in file]


def read_rows() -> list[dict[str, Any]]:
    """Return the rows of the ledger of the working folder."""
    with llmcore.load() as core:
        return list(core.usage.export())
