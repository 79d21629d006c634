"""`llmcore batch`: formats, resuming, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_testing.simulator import Simulator


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as simulator:
        monkeypatch.setenv("UPSTREAM_KEY", "sk-test")
        Path("llmcore.toml").write_text(
            '[llm]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n\n[llm.openai]\n'
            f'base_url = "{simulator.base_url}"\napi_key = "env:UPSTREAM_KEY"\n\n[cache]\nprovider = "memory"\n'
        )
        yield simulator


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmcore", "batch", *arguments],
        check=False,
        capture_output=True,
        text=True,
        input=text,
        timeout=100,
    )


def read_lines(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_json_lines_keep_their_fields_and_get_answers(upstream: Simulator) -> None:
    lines = ['{"prompt": "a", "id": "x", "seed": 1}', '"b"', "", "{bad", "5", '{"prompt": "a", "seed": 1}']
    Path("in.jsonl").write_text("\n".join(lines))
    done = run("run", "in.jsonl", "-o", "out.jsonl")
    assert done.returncode == 0, done.stderr
    found = read_lines("out.jsonl")
    assert (found[0]["id"], found[0]["seed"]) == ("x", 1)
    assert [str(line["answer"])[-1] if line["answer"] else None for line in found] == [
        "a",
        "b",
        None,
        None,
        "a",
    ]
    assert [line["where"] for line in read_lines("out.jsonl.errors.jsonl")] == ["in.jsonl:4", "in.jsonl:5"]
    assert upstream.counts["requests"] == 2
    assert "3 answered, 2 failed" in done.stderr


def test_a_table_is_filled_into_a_prompt(upstream: Simulator) -> None:
    Path("in.csv").write_text('name,text\nann,"It rains, a lot"\nbob,Sun\n')
    done = run(
        "run",
        "in.csv",
        "-o",
        "out.csv",
        "--prompt",
        "Classify: {text}",
        "-s",
        "Be brief.",
        "-p",
        "max_tokens=20",
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["ann", "bob"]
    assert rows[0]["answer"] == "This is a simulated answer to: Classify: It rains, a lot"
    body = next(request.body for request in upstream.requests if "Sun" in str(request.body))
    assert (body["max_tokens"], body["messages"][0]["content"]) == (20, "Be brief.")
    assert set(body) == {"model", "messages", "max_tokens"}


def test_lines_of_openais_batch_files_get_result_lines(upstream: Simulator) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a"}]}
    line = {"custom_id": "c1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    Path("in.jsonl").write_text(json.dumps(line))
    assert run("run", "in.jsonl", "-o", "out.jsonl").returncode == 0
    (found,) = read_lines("out.jsonl")
    assert found["custom_id"] == "c1"
    assert found["response"]["body"]["choices"][0]["message"]["content"].endswith("a")  # type: ignore[index]
    assert upstream.counts["requests"] == 1


def test_parquet(upstream: Simulator) -> None:
    from pyarrow import Table, parquet

    parquet.write_table(
        Table.from_pylist([{"n": number, "text": f"t{number % 2}"} for number in range(4)]), "in.parquet"
    )
    done = run("run", "in.parquet", "-o", "out.parquet", "--column", "text")
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table("out.parquet").to_pylist()
    assert [(row["n"], row["answer"][-2:]) for row in rows] == [(0, "t0"), (1, "t1"), (2, "t0"), (3, "t1")]
    assert upstream.counts["requests"] == 2


def test_stdin_and_stdout(upstream: Simulator) -> None:
    done = run("run", "-", "-o", "-", text='"a"\n{"prompt": "b"}\n')
    assert [json.loads(line)["answer"][-1] for line in done.stdout.splitlines()] == ["a", "b"]
    assert upstream.counts["requests"] == 2


def test_an_unfinished_run_is_resumed_by_the_same_command(upstream: Simulator) -> None:
    Path("in.jsonl").write_text("\n".join(json.dumps({"prompt": f"q{number}"}) for number in range(200)))
    command = ["run", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "llmcore", "batch", *command], stderr=subprocess.PIPE, text=True
    )
    upstream.wait_for_requests(40, 60)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume it with: llmcore batch run in.jsonl -o out.jsonl --concurrency 4" in errors
    before = upstream.counts["requests"]
    assert before < 200
    assert run(*command).returncode == 0
    assert upstream.counts["requests"] <= 200 + 4
    assert [line["prompt"] for line in read_lines("out.jsonl")] == [f"q{number}" for number in range(200)]
    assert all(line["answer"] for line in read_lines("out.jsonl"))


def test_a_run_that_begins_again_without_its_output_can_be_resumed(upstream: Simulator) -> None:
    Path("in.jsonl").write_text('"a"\n')
    command = ["run", "in.jsonl", "-o", "out.jsonl", "-p", "max_tokens=20"]
    assert run(*command).returncode == 0
    Path("out.jsonl").unlink()
    Path("in.jsonl").write_text("\n".join(json.dumps(f"question {number}") for number in range(100)))
    assert run(*command, "--budget", "0.0003 USD").returncode == 5
    (listed,) = json.loads(run("list", "--json").stdout)["runs"]
    assert listed["state"] == "unfinished"
    assert run(*command).returncode == 0
    assert [line["prompt"] for line in read_lines("out.jsonl")] == [
        f"question {number}" for number in range(100)
    ]
    assert upstream.counts["requests"] == 101


def test_a_finished_or_foreign_output_is_kept(upstream: Simulator) -> None:
    Path("in.jsonl").write_text('"a"\n')
    Path("mine.jsonl").write_text("precious\n")
    refused = run("run", "in.jsonl", "-o", "mine.jsonl")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert Path("mine.jsonl").read_text() == "precious\n"
    assert run("run", "in.jsonl", "-o", "out.jsonl").returncode == 0
    assert "is finished" in run("run", "in.jsonl", "-o", "out.jsonl").stderr
    assert run("run", "in.jsonl", "-o", "out.jsonl", "--force").returncode == 0
    assert upstream.counts["requests"] == 2


def test_a_spent_budget_ends_with_its_exit_code(upstream: Simulator) -> None:
    Path("in.jsonl").write_text("\n".join(json.dumps(f"question {number}") for number in range(100)))
    command = ["run", "in.jsonl", "-o", "out.jsonl", "-p", "max_tokens=20"]
    done = run(*command, "--budget", "0.0003 USD")
    assert done.returncode == 5
    assert "resume it with" in done.stderr
    assert run(*command).returncode == 0
    assert upstream.counts["requests"] == 100


def test_runs_are_listed_resumed_and_forgotten(upstream: Simulator) -> None:
    Path("in.jsonl").write_text('"a"\n')
    assert json.loads(run("list", "--json").stdout)["runs"] == []
    run("run", "in.jsonl", "-o", "out.jsonl")
    (listed,) = json.loads(run("list", "--json").stdout)["runs"]
    assert (listed["state"], listed["done"], listed["output"]) == ("finished", 1, "out.jsonl")
    assert json.loads(run("status", "--json").stdout)["run"] == listed["run"]
    assert "is finished" in run("resume", listed["run"]).stderr
    assert f"did you mean `{listed['run']}`" in run("status", listed["run"] + "x").stderr
    assert run("cancel", listed["run"]).returncode == 0
    assert json.loads(run("list", "--json").stdout)["runs"] == []
    assert upstream.counts["requests"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nope.jsonl", "-o", "out.jsonl"], "nope.jsonl cannot be read"),
        (["run", "in.xyz", "-o", "out.jsonl"], "the format of in.xyz is unknown"),
        (["run", "in.jsonl", "-o", "out.xyz"], "the format of out.xyz is unknown"),
        (["run", "in.jsonl"], "-o"),
        (["run", "in.jsonl", "-o", "out.jsonl", "--max-failures", "few"], "--max-failures"),
        (["run", "in.jsonl", "-o", "out.jsonl", "--budget", "much"], "budget"),
        (["resume", "nope"], "there is no run `nope`"),
    ],
)
def test_mistakes_are_reported(upstream: Simulator, arguments: list[str], said: str) -> None:
    Path("in.jsonl").write_text('"a"\n')
    done = run(*arguments)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert upstream.counts["requests"] == 0


def test_too_many_failures_stop_the_run(upstream: Simulator) -> None:
    Path("in.jsonl").write_text("{bad\n" * 50 + '"a"\n')
    done = run("run", "in.jsonl", "-o", "out.jsonl", "--max-failures", "10", "--concurrency", "1")
    assert done.returncode == 1
    assert "more than max_failures allows" in done.stderr
    assert os.environ["UPSTREAM_KEY"]
    assert upstream.counts["requests"] == 0
