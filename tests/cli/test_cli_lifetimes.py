"""`llmcore models` and `llmcore config check` warn of models that are about to go, or are gone."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

import llmcore
from llmcore.cli.model_shutdowns import find_shutdowns
from llmcore_testing.simulator import Simulator
from tests.kits.cli import CommandLine

CONFIG = """
[llm]
provider = "openai"
model = "gpt-5"
[models]
old = ["openai:gpt-4o", "openai:gpt-4"]
older = "old"
free = "echo:gpt-4"
"""


def list_warnings(path: Path, today: date, config: str = CONFIG) -> list[str]:
    file = path / "llmcore.toml"
    file.write_text(config)
    with llmcore.load(file) as core:
        names = core.catalogue.list_names("llm")
        lines = find_shutdowns(core.settings, names, lambda name: core.backend("llm", name), today)
    return [line.replace(str(path) + "/", "") for line in lines]


def test_each_retiring_model_is_reported_once_with_its_place(tmp_path: Path) -> None:
    assert list_warnings(tmp_path, date(2026, 11, 25)) == [
        "the model `gpt-5` of openai is shut down on 2026-12-11 (llmcore.toml:4:1)",
        "the model `gpt-4o` of openai is shut down on 2027-01-14 (llmcore.toml:6:1)",
        "the model `gpt-4` of openai was shut down on 2026-10-23 (llmcore.toml:6:1)",
    ]


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2026, 9, 11), ""),
        (date(2026, 9, 12), "is shut down on 2026-12-11"),
        (date(2026, 12, 10), "is shut down on 2026-12-11"),
        (date(2026, 12, 11), "was shut down on 2026-12-11"),
    ],
)
def test_a_warning_begins_90_days_before_the_end(tmp_path: Path, today: date, said: str) -> None:
    lines = list_warnings(tmp_path, today, '[llm]\nprovider = "openai"\nmodel = "gpt-5"\n')
    assert (said in lines[0]) if said else (lines == [])


@pytest.mark.parametrize("model", ["openai:gpt-4", "openai:ft:gpt-4-0613:acme::1"])
def test_a_model_with_colons_is_distinguished_from_a_provider(tmp_path: Path, model: str) -> None:
    config = f'[llm]\nprovider = "openai"\nmodel = "{model}"\n'
    assert len(list_warnings(tmp_path, date(2026, 11, 25), config)) == 1


def test_a_provider_that_is_not_there_or_knows_no_dates_warns_of_nothing(tmp_path: Path) -> None:
    assert list_warnings(tmp_path, date(2030, 1, 1), '[models]\na = "echo:gpt-4"\nb = "other:gpt-4"\n') == []


def test_the_commands_warn_on_stderr_and_continue(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    gone = "the model `gpt-4` of openai was shut down on 2026-10-23 (llmcore.toml:3:1)"
    (tmp_path / "llmcore.toml").write_text('[llm]\nprovider = "openai"\nmodel = "gpt-4"\n')
    with Simulator() as upstream:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": upstream.base_url}
        listed, checked = cli("models", **env), cli("config", "check", **env)
        for done in (listed, checked):
            assert done.returncode == 0
            assert done.stderr == f"warning: {gone}\n"
            assert gone not in done.stdout
        for command in (["models"], ["config", "check"]):
            assert json.loads(cli(*command, "--json", **env).stdout)["warnings"] == [gone]
