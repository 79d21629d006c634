"""`llmcore batch` under adversity: kills, changed inputs, full disks, odd tables, and two processes on one run."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmcore
from llmcore_testing.simulator import Fault, Simulator


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as simulator:
        monkeypatch.setenv("UPSTREAM_KEY", "sk-test")
        Path("llmcore.toml").write_text(
            '[llm]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n\n[llm.openai]\n'
            f'base_url = "{simulator.base_url}"\napi_key = "env:UPSTREAM_KEY"\n\n[cache]\nprovider = "memory"\n'
        )
        yield simulator


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "llmcore", "batch", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    out, err = process.communicate(text, timeout=300)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def write_prompts(count: int, name: str = "in.jsonl") -> None:
    Path(name).write_text("".join(json.dumps({"prompt": f"q{number}"}) + "\n" for number in range(count)))


def read_lines(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_dry_run_tells_and_sends_and_writes_nothing(upstream: Simulator) -> None:
    Path("in.jsonl").write_text('{"prompt": "a"}\n{bad\n"b"\n"a"\n')
    before = sorted(Path().iterdir())
    command = ["run", "in.jsonl", "-o", "out.jsonl", "-p", "max_tokens=20"]
    estimate = run(*command, "--dry-run", "--budget", "1 USD")
    assert estimate.returncode == 0, estimate.stderr
    lines = dict(line.split("  ", 1) for line in estimate.stdout.splitlines())
    assert lines["items"].strip() == "4"
    assert lines["malformed"].strip() == lines["duplicates"].strip() == "1"
    assert "40 at most" in lines["output tokens"]
    assert "allows all requests" in estimate.stdout
    found = json.loads(run(*command, "--dry-run", "--json").stdout)
    assert (found["items"], found["requests"], found["exact_share"]) == (4, 2, 1.0)
    assert found["cost_least"] < found["cost_likely"] <= found["cost_most"]
    assert sorted(Path().iterdir()) == before
    assert json.loads(run("list", "--json").stdout)["runs"] == []
    assert upstream.counts["requests"] == 0


def test_a_run_with_a_limit_is_continued_without_it(upstream: Simulator) -> None:
    write_prompts(30)
    first = run("run", "in.jsonl", "-o", "out.jsonl", "--limit", "10")
    assert first.returncode == 0, first.stderr
    assert "send them with: llmcore batch run in.jsonl -o out.jsonl\n" in first.stderr
    assert len(read_lines("out.jsonl")) == upstream.counts["requests"] == 10
    (listed,) = json.loads(run("list", "--json").stdout)["runs"]
    assert listed["state"] == "unfinished"
    assert run("run", "in.jsonl", "-o", "out.jsonl", "--limit", "20").returncode == 0
    assert upstream.counts["requests"] == 20
    assert run("resume", listed["run"]).returncode == 0
    assert len(read_lines("out.jsonl")) == upstream.counts["requests"] == 30
    refused = run("run", "in.jsonl", "-o", "out.jsonl", "--limit", "0")
    assert refused.returncode == 2


@pytest.mark.parametrize("output", ["in.jsonl", "./in.jsonl", "link.jsonl", "of"])
def test_the_input_is_never_overwritten(upstream: Simulator, output: str) -> None:
    write_prompts(3)
    Path("link.jsonl").symlink_to("in.jsonl")
    Path("of.jsonl").write_text("")
    source = "in.jsonl"
    if output == "of":
        source, output = "of.jsonl.errors.jsonl", "of.jsonl"
        Path(source).write_text('"a"\n')
    text = Path(source).read_text()
    refused = run("run", source, "-o", output, "--force")
    assert refused.returncode == 2
    assert "would overwrite its input" in refused.stderr
    assert Path(source).read_text() == text
    assert upstream.counts["requests"] == 0


def test_an_input_that_changes_is_noticed_and_only_the_change_is_sent(upstream: Simulator) -> None:
    write_prompts(100)
    upstream.hold()
    process = start("run", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4")
    upstream.wait_for_requests(4)
    with Path("in.jsonl").open("a") as file:
        file.write('{"prompt": "late"}\n' * 2)
    upstream.release()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "in.jsonl changed during the run" in err
    assert run("run", "in.jsonl", "-o", "out.jsonl").returncode == 0
    assert upstream.counts["requests"] == 101
    assert len(read_lines("out.jsonl")) == 102


def test_a_second_process_on_a_run_is_refused_and_harms_nothing(upstream: Simulator) -> None:
    write_prompts(20)
    upstream.hold()
    command = ["run", "in.jsonl", "-o", "out.jsonl", "--concurrency", "2"]
    process = start(*command)
    upstream.wait_for_requests(2)
    for more in ([], ["--force"]):
        refused = run(*command, *more)
        assert refused.returncode == 1
        assert "is in use by another process" in refused.stderr
    upstream.release()
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert len(read_lines("out.jsonl")) == upstream.counts["requests"] == 20


def test_tables_with_quotes_marks_long_fields_and_bad_rows(upstream: Simulator) -> None:
    long = "x" * 1_000_000
    with Path("in.csv").open("wb") as file:
        file.write(b"\xef\xbb\xbfname,text\n")
        file.write(b"only one field\n")
        file.write(b'"Ann ""the cat""","two\nlines, and a comma"\n')
        file.write(b"bob,\xff\xfe\n")
        file.write(f"long,{long}\n".encode())
    done = run("run", "in.csv", "-o", "out.csv", "--column", "text", "-p", "max_tokens=5")
    assert done.returncode == 0, done.stderr
    csv.field_size_limit(10_000_000)
    with Path("out.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["name"] for row in rows] == ["", 'Ann "the cat"', "", "long"]
    assert rows[1]["text"] == "two\nlines, and a comma"
    assert rows[3]["text"] == long
    assert "1 fields, the header 2" in rows[0]["error"]
    assert "not UTF-8" in rows[2]["error"]
    assert [bool(row["answer"]) for row in rows] == [False, True, False, True]
    assert upstream.counts["requests"] == 2
    Path("twice.csv").write_text("a,b,a\n1,2,3\n")
    assert "several columns `a`" in run("run", "twice.csv", "-o", "twice-out.csv", "--column", "a").stderr


def test_lines_that_are_not_utf8_or_hold_lone_surrogates(upstream: Simulator) -> None:
    Path("in.jsonl").write_bytes(b'"\xff"\n{"prompt": "\\ud800"}\n"good"\n')
    done = run("run", "in.jsonl", "-o", "out.jsonl")
    assert done.returncode == 0, done.stderr
    found = read_lines("out.jsonl")
    assert [bool(line["answer"]) for line in found] == [False, False, True]
    assert found[1]["prompt"] == "\ud800"
    assert upstream.counts["requests"] == 1


def test_failures_on_stdout_are_in_its_lines(upstream: Simulator) -> None:
    done = run("run", "-", "-o", "-", text='"a"\n{bad\n')
    assert [bool(json.loads(line)["error"]) for line in done.stdout.splitlines()] == [False, True]
    assert "the field `error` of the output" in done.stderr
    assert not list(Path().glob("*errors*"))
    upstream.reset()
    run("run", "-", "-o", "-", text='"a"\n')
    assert upstream.counts["requests"] == 1, "a finished run to stdout begins again"


def test_an_output_that_cannot_be_written_is_reported(upstream: Simulator) -> None:
    write_prompts(3)
    missing = run("run", "in.jsonl", "-o", "nope/out.jsonl")
    assert (missing.returncode, "mkdir -p nope" in missing.stderr) == (2, True)
    assert upstream.counts["requests"] == 0
    Path("full.jsonl").symlink_to("/dev/full")
    full = run("run", "in.jsonl", "-o", "full.jsonl", "--force")
    assert full.returncode == 1
    assert "full.jsonl cannot be written: No space left on device" in full.stderr
    assert "resume it with: llmcore batch run in.jsonl -o full.jsonl" in full.stderr
    again = run("run", "in.jsonl", "-o", "full.jsonl")
    assert "full.jsonl cannot be written" in again.stderr
    assert upstream.counts["requests"] == 3, "what was answered is kept"


def test_parquet_keeps_its_types_and_other_tables_become_parquet(upstream: Simulator) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"n": pa.array(range(2500), pa.int16()), "t": [f"t{n % 3}" for n in range(2500)]})
    parquet.write_table(table, "in.parquet")
    done = run("run", "in.parquet", "-o", "out.parquet", "--column", "t")
    assert done.returncode == 0, done.stderr
    found = parquet.read_table("out.parquet")
    assert found.column_names == ["n", "t", "answer", "error", "cost"]
    assert found["n"].type == pa.int16()
    assert found["n"].to_pylist() == list(range(2500))
    assert upstream.counts["requests"] == 3
    Path("mixed.jsonl").write_text('{"prompt": "a", "x": 1}\n{"prompt": "b", "x": "two"}\n{bad\n')
    done = run("run", "mixed.jsonl", "-o", "mixed.parquet")
    assert done.returncode == 0, done.stderr
    assert parquet.read_table("mixed.parquet")["x"].to_pylist() == ["1", "two", None]


def test_fields_that_a_table_cannot_hold_are_reported(upstream: Simulator) -> None:
    Path("in.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "seed": 5}\n')
    done = run("run", "in.jsonl", "-o", "out.csv")
    assert "out.csv lacks fields that the first line does not have: seed" in done.stderr
    assert upstream.counts["requests"] == 2


def test_a_ctrl_c_ends_a_run_whose_server_hangs(upstream: Simulator) -> None:
    write_prompts(50)
    upstream.fail(Fault.hang(), times=None)
    process = start("run", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4")
    upstream.wait_for_requests(4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "resume it with: llmcore batch run in.jsonl -o out.jsonl" in err
    with llmcore.load() as core:
        assert not [row for row in core.usage.open() if row["state"] == "open"]


def test_lines_of_stdin_are_answered_as_they_come_and_ctrl_c_ends_the_wait(upstream: Simulator) -> None:
    process = start("run", "-", "-o", "-")
    assert process.stdin is not None
    assert process.stdout is not None
    for word in ("first", "second"):
        process.stdin.write(json.dumps(word) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["answer"].endswith(word)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    _, err = process.communicate()
    assert "resume it with: llmcore batch run - -o -" in err
    assert upstream.counts["requests"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("items", "kills"), [(600, 10)])
def test_a_run_survives_kills_at_random_moments(upstream: Simulator, items: int, kills: int) -> None:
    write_prompts(items)
    upstream.fail(Fault.slow(0.005), times=None)
    chance, width = random.Random(7), 8  # noqa: S311 - moments, no secrets
    command = ["run", "in.jsonl", "-o", "out.jsonl", "--concurrency", str(width)]
    for kill in range(kills):
        process = start(*command)
        aim = upstream.counts["requests"] + chance.randint(1, items // kills - width)
        upstream.wait_for(lambda aim=aim: upstream.counts["requests"] >= aim)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, f"kill {kill} came too late"
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert [line["prompt"] for line in read_lines("out.jsonl")] == [f"q{number}" for number in range(items)]
    assert all(line["answer"] for line in read_lines("out.jsonl"))
    sent = upstream.counts["requests"]
    assert sent <= items + width * kills
    with llmcore.load() as core:
        rows = list(core.usage.export())
        assert not [row for row in rows if row["state"] == "open"]
        booked = len([row for row in rows if row["state"] != "hit"])
        assert sent <= booked <= sent + width * kills, "a kill may come between the booking and the request"
