"""`llmcore config`: the settings with their sources, changes that keep comments, and all faults together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

SECRET = "hunter2-but-longer"  # noqa: S105 - it opens nothing


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "llmcore.toml"


def test_show_prints_each_setting_with_its_source(cli: CommandLine, project: Path) -> None:
    project.write_text('[cache]\nttl = "2h"\n')
    lines = cli("config", "show", LLMCORE__CACHE__PROVIDER="memory").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith(("llm.", "cache."))] == [
        ["llm.provider", "=", '"echo"', "#", "built-in"],
        ["cache.provider", "=", '"memory"', "#", "environment,", "LLMCORE__CACHE__PROVIDER"],
        ["cache.ttl", "=", '"2h"', "#", "project", "file,", "llmcore.toml:2:1"],
        ["cache.namespace", "=", '"default"', "#", "built-in"],
    ]
    assert cli("config", LLMCORE__CACHE__PROVIDER="memory").stdout.splitlines() == lines


def test_show_as_json_has_values_as_they_are(cli: CommandLine, project: Path) -> None:
    project.write_text("[retry]\nattempts = 7\n")
    shown = json.loads(cli("config", "show", "--json").stdout)
    assert sorted(shown) == ["schema", "settings"]
    attempts = next(item for item in shown["settings"] if item["key"] == "retry.attempts")
    assert attempts == {
        "key": "retry.attempts",
        "value": 7,
        "layer": "project file",
        "source": "llmcore.toml:2:1",
    }


def test_a_secret_is_never_shown_under_any_option_name(cli: CommandLine, project: Path) -> None:
    plugin = (
        "from llmcore.hookspecs import Options, Provider, hookimpl\n"
        "from llmcore.types import Secret\n"
        "class Lock(Options):\n    combination: Secret | None = None\n"
        "@hookimpl\ndef llmcore_llm_providers():\n"
        "    yield Provider(name='safe', options=Lock, create=lambda options: None)\n"
    )
    cli.install("llmcore-safe", {"llmcore.llm": "safe = llmcore_safe"}, {"llmcore_safe": plugin})
    project.write_text(f'[llm.safe]\ncombination = "{SECRET}"\n[llm.openai]\napi_key = "{SECRET}"\n')
    for arguments in (
        ["show"], ["show", "--json"], ["explain", "llm.safe.combination"], ["explain", "llm.safe"], ["check"],
        ["explain", "llm.openai.api_key", "--json"],
    ):  # fmt: skip
        done = cli("config", *arguments)
        assert SECRET not in done.stdout + done.stderr, arguments


def test_explain_shows_every_layer_and_the_winner(cli: CommandLine, project: Path) -> None:
    project.write_text('[cache]\nttl = "2h"\n[profiles.prod.cache]\nttl = "3h"\n')
    shown = json.loads(cli("config", "explain", "cache.ttl", "--json", "--profile", "prod").stdout)
    assert [(layer["layer"], layer["value"], layer["wins"]) for layer in shown["layers"]] == [
        ("built-in", "1h", False),
        ("project file", "2h", False),
        ("profile prod", "3h", True),
    ]
    assert "wins" in cli("config", "explain", "cache.ttl").stdout
    unknown = cli("config", "explain", "cache.tll")
    assert unknown.returncode == 3
    assert "did you mean `cache.ttl`?" in unknown.stderr


def test_set_and_unset_keep_the_rest_of_the_file(cli: CommandLine, project: Path) -> None:
    project.write_text('# mine\n[llm]\nprovider = "echo"  # for now\n')
    done = cli("config", "set", "llm.model", "m")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "set llm.model in llmcore.toml\n")
    assert project.read_text() == '# mine\n[llm]\nprovider = "echo"  # for now\nmodel = "m"\n'
    assert cli("config", "unset", "llm.model").stderr == "removed llm.model from llmcore.toml\n"
    assert project.read_text() == '# mine\n[llm]\nprovider = "echo"  # for now\n'
    assert cli("config", "unset", "llm.model").returncode == 0


def test_set_goes_to_the_file_that_is_meant(cli: CommandLine, tmp_path: Path, empty_home: Path) -> None:
    cli("config", "set", "llm.model", "theirs", "--user")
    cli("config", "set", "llm.model", "named", "--config", "other.toml")
    assert "theirs" in (empty_home / "config" / "llmcore" / "config.toml").read_text()
    assert "named" in (tmp_path / "other.toml").read_text()
    assert not (tmp_path / "llmcore.toml").exists()


def test_set_refuses_a_key_in_plain_text(cli: CommandLine, project: Path) -> None:
    done = cli("config", "set", "llm.openai.api_key", SECRET)
    assert done.returncode == 3
    assert SECRET not in done.stdout + done.stderr
    assert not project.exists()


def test_check_finds_every_fault_in_one_go(cli: CommandLine, project: Path) -> None:
    project.write_text('[llm]\nmodle = "x"\n[cache]\nttl = "2 parsecs"\nprovidr = "file"\n')
    done = cli("config", "check")
    assert (done.returncode, done.stdout) == (3, "")
    assert [line for line in done.stderr.splitlines() if line.startswith("error")] == [
        "error[LC102]: unknown key `modle` in [llm]",
        'error[LC104]: `ttl` must be a duration, got "2 parsecs"',
        "error[LC102]: unknown key `providr` in [cache]",
    ]


def test_check_finds_faults_in_the_options_of_providers_and_keys_that_are_missing(
    cli: CommandLine, project: Path
) -> None:
    project.write_text('[llm]\nprovider = "openai"\n[cache.file]\nmax_siez = "1GB"\n[storage.fs]\nroot = 7\n')
    shown = json.loads(cli("config", "check", "--json").stdout)
    assert shown["ok"] is False
    assert [fault["code"] for fault in shown["faults"]] == ["LC112", "LC201", "LC102", "LC104"]
    done = cli("config", "check", OPENAI_API_KEY="sk-0123456789")
    assert "LC201" not in done.stderr


@pytest.mark.parametrize(
    ("chosen", "table"),
    [
        ('[voice]\nprovider = "espeak"\nfallback = ["elevenlabs"]\n', "[voice.elevenlabs]\n"),
        ('[models]\nfast = ["echo:echo", "openai:gpt-5"]\n', "[llm.openai]\n"),
        ('[llm]\nprovider = "spare"\nmodel = "gpt-5"\n', '[llm.spare]\nuse = "openai"\n'),
    ],
)
def test_check_finds_the_missing_key_of_each_provider_that_is_chosen(
    cli: CommandLine, project: Path, chosen: str, table: str
) -> None:
    project.write_text(chosen + table)
    shown = json.loads(cli("config", "check", "--json").stdout)
    assert [fault["code"] for fault in shown["faults"]] == ["LC201"]
    project.write_text(table)  # a provider that is not chosen needs no key
    assert cli("config", "check").returncode == 0


def test_the_line_that_an_error_proposes_mends_it(cli: CommandLine, project: Path) -> None:
    project.write_text('[llm]\nprovider = "opnai"\n')
    fault = json.loads(cli("config", "check", "--json").stdout)["faults"][0]
    assert fault["fix"] == "llmcore config set llm.provider openai"
    assert cli(*fault["fix"].split()[1:]).returncode == 0
    assert "opnai" not in cli("config", "check").stderr


def test_check_accepts_a_valid_configuration(cli: CommandLine, project: Path) -> None:
    assert cli("config", "check").stdout == "no fault; there is no file, so the defaults apply\n"
    project.write_text('[cache]\nprovider = "memory"\n')
    done = cli("config", "check")
    assert (done.returncode, done.stdout) == (0, "no fault in llmcore.toml\n")
    shown = json.loads(cli("config", "check", "--json").stdout)
    assert shown == {"schema": 1, "ok": True, "faults": [], "warnings": []}


def test_init_writes_a_file_that_has_no_fault_and_never_overwrites_one(
    cli: CommandLine, project: Path
) -> None:
    assert cli("config", "init").returncode == 0
    text = project.read_text()
    assert cli("config", "check").returncode == 0
    assert cli("config", "init").returncode == 3
    assert project.read_text() == text


def test_path_prints_the_files_that_are_searched(cli: CommandLine, project: Path, empty_home: Path) -> None:
    project.write_text("")
    places = {place["name"]: place for place in json.loads(cli("config", "path", "--json").stdout)["places"]}
    assert sorted(places) == ["cache", "project file", "state", "user file"]
    assert places["project file"] == {"name": "project file", "path": str(project.resolve()), "exists": True}
    assert places["user file"]["path"] == str(empty_home / "config" / "llmcore" / "config.toml")
    assert places["user file"]["exists"] is False


def test_profile_and_config_are_accepted_before_and_after_the_command(
    cli: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text('[profiles.prod.cache]\nprovider = "memory"\n')
    options = ["--config", "mine.toml", "--profile", "prod"]
    for arguments in ([*options, "config", "show"], ["config", "show", *options], ["config", *options]):
        assert 'cache.provider = "memory"' in cli(*arguments).stdout
    assert cli("ask", "--profile", "prdo", "--config", "mine.toml", "Hi").returncode == 3
