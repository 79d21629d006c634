"""The command line knows instances, and refuses misspelt names with a line to paste."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmcore_testing.simulator import Simulator
from tests.kits.cli import CommandLine

INSTANCES = """
[llm]
provider = "local"
model = "tiny"
[llm.local]
use = "openai"
base_url = "{url}"
api_key = "env:KEY"
[cache.mine]
use = "file"
[models]
safe = "local:tiny"
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["ask", "-m", "opnai:x", "Hi"], "llmcore ask -m openai:x Hi"),
        (["ask", "-m", "saef", "Hi"], "llmcore ask -m safe Hi"),
        (["ask", "-m", "ft:gpt-4o:org", "Hi"], "llmcore ask -m local:ft:gpt-4o:org Hi"),
        (["count", "-m", "saef", "Hi"], "llmcore count -m safe Hi"),
        (["models", "--provider", "lcoal"], "llmcore models --provider local"),
        (["config", "set", "llm.provider", "opnai"], "llmcore config set llm.provider openai"),
        (["config", "set", "models.safe", "lcoal:tiny"], "llmcore config set models.safe local:tiny"),
    ],
)
def test_a_misspelt_name_is_refused_before_anything_is_sent(
    cli: CommandLine, arguments: list[str], fix: str
) -> None:
    with Simulator() as upstream:
        (cli.folder / "llmcore.toml").write_text(INSTANCES.format(url=upstream.base_url))
        done = cli(*arguments, KEY="sk-test")
        assert (done.stdout, upstream.requests) == ("", [])
    assert done.returncode in {2, 3, 6}
    assert f"fix: {fix}\n" in done.stderr


def test_commands_know_instances(cli: CommandLine) -> None:
    with Simulator() as upstream:
        (cli.folder / "llmcore.toml").write_text(INSTANCES.format(url=upstream.base_url))
        env = {"KEY": "sk-test"}
        assert cli("ask", "Hi", **env).returncode == 0
        assert json.loads(cli("models", "--json", **env).stdout)["provider"] == "local"
        assert cli("config", "check", **env).returncode == 0
        shown = cli("config", "show", **env).stdout
        listed = json.loads(cli("plugins", "list", "--json", **env).stdout)["plugins"]
        info = cli("plugins", "info", "local", **env)
        examined = json.loads(cli("doctor", "--json", LLMCORE_PLUGINS="openai", **env).stdout)["findings"]
        used = json.loads(cli("usage", "model", "--json", **env).stdout)["rows"]
    assert 'llm.local.use = "openai"' in shown
    assert [
        (row["kind"], row["name"], row["state"], row["why"]) for row in listed if row["state"] == "instance"
    ] == [
        ("llm", "local", "instance", "uses `openai`, llmcore.toml:5:6"),
        ("cache", "mine", "instance", "uses `file`, llmcore.toml:9:8"),
    ]
    assert "options, in [llm.local]:" in info.stdout
    assert {
        "what": "llm local",
        "ok": True,
        "text": "an instance of `openai`, llmcore.toml:5:6",
        "fix": None,
    } in examined
    assert [row["name"] for row in used] == ["local:tiny"]


def test_check_reports_all_unknown_and_uninstalled_names(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text(
        '[llm.lmstudio]\n[llm.local]\nbase_url = "x"\n[models]\na = ["echo:x"]\n'
        'b = "zork:x"\n[limits.ecko]\nconcurrency = 1\n'
    )
    faults = json.loads(cli("config", "check", "--json").stdout)["faults"]
    assert [(fault["code"], fault["where"]) for fault in faults] == [
        ("LC103", "llmcore.toml:2:6"),
        ("LC103", "llmcore.toml:6:5"),
        ("LC103", "llmcore.toml:7:9"),
    ]


def test_an_instance_is_checked_by_the_kit_of_its_kind(cli: CommandLine, tmp_path: Path) -> None:
    (cli.folder / "llmcore.toml").write_text(
        f'[storage.archive]\nuse = "fs"\nroot = "{tmp_path / "archive"}"\n'
    )
    done = cli("plugins", "check", "archive")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "archive, storage provider of llmcore-storage-fs" in done.stdout
    assert not (tmp_path / "archive").exists()


def test_a_missing_key_of_an_instance_names_its_table(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text(INSTANCES.format(url="http://127.0.0.1:1/v1"))
    done = cli("config", "check")
    assert done.returncode == 3
    assert "`api_key` for provider `local`" in done.stderr
