"""`llmcore batch run --api embeddings` and `--say`: vectors and audio files for the lines of a file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("schema", ["mood str", "mood.json"])
def test_answers_that_do_not_fit_the_schema_fail(cli: CommandLine, upstream: Simulator, schema: str) -> None:
    properties = {"mood": {"type": "string"}}
    Path("mood.json").write_text(
        json.dumps({"type": "object", "properties": properties, "required": ["mood"]})
    )
    upstream.replies('{"mood": "glad"}', '{"mood": 5}')
    options = ("-o", "out.jsonl", "--column", "text", "--schema", schema, "--concurrency", "1")
    assert cli("batch", "run", "lines.csv", *options).returncode == 0
    assert {each.body["response_format"]["type"] for each in upstream.requests} == {"json_schema"}
    assert upstream.requests[0].body["response_format"]["json_schema"]["schema"]["properties"] == properties
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == ['{"mood": "glad"}', None, '{"mood": "glad"}']
    (failed,) = map(json.loads, Path("out.jsonl.errors.jsonl").read_text().splitlines())
    assert (failed["code"], failed["where"]) == ("LC407", "--schema")
    assert "$.mood must be string, got 5" in failed["error"]
    upstream.replies('{"mood": "sunny"}')
    assert cli("batch", "run", "lines.csv", *options, "--force").returncode == 0
    assert upstream.counts["requests"] == 3, "an answer that does not fit is not cached"


def run_json(cli: CommandLine, *arguments: str) -> dict[str, Any]:
    done = cli("batch", "run", "lines.csv", "--column", "text", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


KINDS = [("--api", "embeddings", "-o", "out.jsonl"), ("--say", "--voice", "alloy", "-o", "audio")]


@pytest.mark.parametrize("options", KINDS, ids=["embeddings", "speech"])
def test_the_estimate_of_other_kinds_is_their_cost(
    cli: CommandLine, upstream: Simulator, options: tuple[str, ...]
) -> None:
    found = run_json(cli, *options, "--dry-run")
    assert not upstream.requests, "an estimate sends nothing"
    assert not Path("audio").exists()
    assert (found["items"], found["duplicates"], found["cached"], found["requests"]) == (3, 1, 0, 2)
    kind = "characters" if "--say" in options else "input_tokens"
    assert found[kind] == (15 if kind == "characters" else found["input_tokens"]) > 0
    least, likely, most = (Decimal(str(found[f"cost_{name}"])) for name in ("least", "likely", "most"))
    outcome = Decimal(str(run_json(cli, *options)["cost"]))
    assert 0 < least <= outcome <= most
    assert least <= likely <= most
    again = run_json(cli, *options[:-1], "other", "--dry-run") if "--say" in options else None
    if again is not None:
        assert (again["cached"], again["requests"], again["cost_most"]) == (2, 0, 0)
    text = cli("batch", "run", "lines.csv", "--column", "text", *options, "--dry-run").stdout
    assert ("output tokens" in text, "cost" in text) == (False, True)


@pytest.mark.usefixtures("upstream")
def test_the_summary_compares_the_estimate_with_the_outcome(cli: CommandLine) -> None:
    options = ("--column", "text", "-p", "max_tokens=50")
    text = cli("batch", "run", "lines.csv", "-o", "out.jsonl", *options, "--limit", "1").stderr
    assert re.search(r"estimated \$\S+ at least, \$\S+ likely, \$\S+ at most; it cost \$", text), text
    found = run_json(
        cli, *options[2:], "-o", "out.jsonl"
    )  # the rest: one line is answered, one is a duplicate
    part, least, most = (found[name] for name in ("part_cost", "estimate_least", "estimate_most"))
    assert 0 < least <= part <= most
    assert part < found["cost"], "the earlier part is not in the estimate"


def test_an_interrupted_run_keeps_its_estimate(cli: CommandLine, upstream: Simulator) -> None:
    options = ("-o", "out.jsonl", "--concurrency", "1", "-p", "max_tokens=50")
    whole = run_json(cli, *options, "--dry-run")
    upstream.fail(Fault.slow())  # the first request is answered
    upstream.fail(Fault.status(401))
    assert cli("batch", "run", "lines.csv", "--column", "text", *options).returncode == 4
    found = run_json(cli, *options)
    assert Decimal(found["estimate_most"]) == Decimal(whole["cost_most"])
    assert found["part_cost"] == found["cost"], "the interrupted part is compared, too"
    assert upstream.counts["requests"] == 3


@pytest.mark.parametrize("edited", ["schema", "prices"])
def test_an_estimate_is_made_again_if_what_it_depends_on_was_edited(
    cli: CommandLine, upstream: Simulator, edited: str
) -> None:
    options = ("-o", "out.jsonl", "--schema", "schema.json", "-p", "max_tokens=50")
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    Path("schema.json").write_text(json.dumps(schema))
    upstream.fail(Fault.status(401))
    assert cli("batch", "run", "lines.csv", "--column", "text", *options).returncode == 4
    if edited == "schema":
        Path("schema.json").write_text(json.dumps({**schema, "description": "The mood of the line. " * 20}))
    else:
        with Path("llmcore.toml").open("a") as config:
            config.write('\n[prices."openai:gpt-4o-mini"]\ninput = 30.0\noutput = 120.0\n')
    whole = run_json(cli, *options, "--dry-run")
    found = run_json(cli, *options)
    assert [Decimal(found[f"estimate_{name}"]) for name in ("least", "likely", "most")] == [
        Decimal(whole[f"cost_{name}"]) for name in ("least", "likely", "most")
    ]


def test_embeddings_have_no_schema(cli: CommandLine, upstream: Simulator) -> None:
    done = cli("batch", "run", "lines.csv", "-o", "out.jsonl", "--api", "embeddings", "--schema", "mood")
    assert (done.returncode, "embeddings have no schema" in done.stderr) == (2, True)
    assert not upstream.requests


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("option", [("--lane", "queue"), ("--api", "embeddings")])
def test_speech_refuses_what_it_does_not_have(cli: CommandLine, option: tuple[str, ...]) -> None:
    done = cli("batch", "run", "lines.csv", "--say", "-o", "audio", *option)
    assert (done.returncode, f"{option[0]} does not apply to --say" in done.stderr) == (2, True)
