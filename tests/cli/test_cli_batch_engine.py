"""`llmcore batch run --engine`: wrong options, and a run that begins again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmcore_testing.simulator import Simulator
from tests.kits.cli import CommandLine
from tests.kits.engines import KEY


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_a_wrong_engine_is_an_error_of_its_option(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text('[llm]\nprovider = "echo"\n')
    (cli.folder / "in.txt").write_text("a\n")
    command = "batch run in.txt -o out.jsonl --engine"
    for options, faults in {
        "loca": ("unknown engine `loca`", "--> --engine", f"llmcore {command} local"),
        "loca --engine-address tcp://x:1": (
            "unknown engine `loca`",
            f"llmcore {command} local --engine-address tcp://x:1",
        ),
        "local --engine-address tcp://x:1": (
            "unknown key `address` in [engines.local]",
            "--> --engine-address",
            f"fix: llmcore {command} local\n",
        ),
    }.items():
        done = cli(*command.split(), *options.split())
        assert done.returncode, done.stdout
        for text in faults:
            assert text in done.stderr


def test_a_run_that_begins_again_takes_no_answer_of_its_first_part(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk-test")
    with Simulator() as upstream:
        (cli.folder / "llmcore.toml").write_text(
            '[llm]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n[cache]\nprovider = "memory"\n'
            f'[llm.openai]\nbase_url = "{upstream.base_url}"\napi_key = "env:{KEY}"\n'
            '[engines.local]\nworkers = 1\n[ledger]\npath = "./ledger.sqlite3"\n'
        )
        lines = [json.dumps({"prompt": f"a{number}", "max_tokens": 20}) for number in range(60)]
        (cli.folder / "in.jsonl").write_text("\n".join(lines))
        command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", "--engine", "local")
        assert cli(*command, "--budget", "0.0002 USD").returncode == 5
        sent = upstream.counts["requests"]
        assert 0 < sent < 60
        done = cli(*command, "--force")
        assert done.returncode == 0, done.stderr
        assert upstream.counts["requests"] == sent + 60
