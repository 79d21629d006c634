"""`llmcore batch run --api embeddings` and `--say`: vectors and audio files for the lines of a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_testing.simulator import Fault, Simulator
from tests.kits.cli import CommandLine


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as simulator:
        monkeypatch.setenv("UPSTREAM_KEY", "sk-test")
        options = f'base_url = "{simulator.base_url}"\napi_key = "env:UPSTREAM_KEY"\n'
        Path("llmcore.toml").write_text(
            f'[llm]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n\n[llm.openai]\n{options}\n'
            '[models]\nembedding = "openai:text-embedding-3-small"\n\n'
            f'[voice]\nprovider = "openai"\n\n[voice.openai]\n{options}'
        )
        with Path("lines.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [["id", "text"], ["rain", "It rains"], ["sun", "The sun"], ["", "It rains"]]
            )
        yield simulator


@pytest.fixture
def cli() -> CommandLine:
    return CommandLine(Path.cwd())


def test_lines_become_vectors_in_one_request(cli: CommandLine, upstream: Simulator) -> None:
    upstream.fail(Fault.status(400), times=1)  # the texts are divided until only the refused one fails
    done = cli("batch", "run", "lines.csv", "-o", "out.jsonl", "--api", "embeddings", "--column", "text", "-p", "dimensions=4")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [len(line["answer"]) for line in lines] == [4, 4, 4]
    assert lines[0]["answer"] == lines[2]["answer"] != lines[1]["answer"]
    assert [line["cost"] > 0 for line in lines] == [True, True, False]
    assert upstream.counts["requests"] == 3


def test_lines_become_audio_files_with_an_index(cli: CommandLine, upstream: Simulator) -> None:
    command = ("batch", "run", "lines.csv", "--say", "-o", "audio", "--column", "text", "--voice", "alloy")
    upstream.fail(Fault.status(401), times=1)
    stopped = cli(*command)
    assert stopped.returncode == 4
    assert (
        "resume it with: llmcore batch run lines.csv -o audio --column text --say --voice alloy"
        in stopped.stderr
    )
    assert cli(*command).returncode == 0
    with Path("audio/index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == ["rain.mp3", "sun.mp3", "000003.mp3"]
    assert all(Path("audio", row["answer"]).stat().st_size > 1000 for row in rows)
    assert upstream.counts["speech"] == 2
    again = cli(*command)
    assert (again.returncode, "is finished" in again.stderr) == (2, True)


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("option", [("--lane", "queue"), ("--dry-run",), ("--api", "embeddings")])
def test_speech_refuses_what_it_does_not_have(cli: CommandLine, option: tuple[str, ...]) -> None:
    done = cli("batch", "run", "lines.csv", "--say", "-o", "audio", *option)
    assert (done.returncode, f"{option[0]} does not apply to --say" in done.stderr) == (2, True)
