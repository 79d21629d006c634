"""Fixes that the command line proposes can be pasted, and work."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def find_fix(stderr: str) -> str:
    return stderr.rpartition("  = fix: ")[2].strip()


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["ask", ""], 'llmcore ask "Write a haiku about rain"'),
        (["version"], "llmcore --version"),
        (["completion", "bsh"], "llmcore completion bash"),
        (["config", "set", "lm.model", "a b"], "llmcore config set llm.model 'a b'"),
        (["config", "explain", "cache.tll"], "llmcore config explain cache.ttl"),
        (["plugins", "new", "Acme", "--kind", "llm"], "llmcore plugins new acme --kind llm"),
        (["plugins", "new", "echo", "--kind", "llm"], "llmcore plugins new my_echo --kind llm"),
        (["--config", "here.toml", "ask", "Hi"], "llmcore --config here.toml config init"),
    ],
)
def test_the_line_to_paste_mends_it(cli: CommandLine, arguments: list[str], fix: str) -> None:
    done = cli(*arguments)
    assert done.returncode != 0
    assert find_fix(done.stderr) == fix
    mended = cli(*shlex.split(fix)[1:])
    assert (mended.returncode, "error[" in mended.stderr) == (0, False), mended.stderr


def test_a_file_that_is_missing_in_an_empty_storage_is_stored_by_the_fix(cli: CommandLine) -> None:
    assert find_fix(cli("store", "get", "nothing").stderr) == "echo Hello | llmcore store put nothing"
    (cli.folder / "a.txt").write_text("Hello")
    assert cli("store", "put", "other", "a.txt").returncode == 0
    assert find_fix(cli("store", "get", "nothing").stderr) == "llmcore store ls"


def test_a_plugin_that_is_not_installed_is_reported(cli: CommandLine) -> None:
    assert cli("plugins", "new", "my_acme", "--kind", "cache").returncode == 0
    assert find_fix(cli("plugins", "check", "my_acme").stderr) == "pip install -e llmcore-my-acme"


def test_the_next_steps_after_init_can_be_pasted(cli: CommandLine) -> None:
    advice = cli("--config", "other.toml", "config", "init").stderr
    first, second = advice.partition("next: ")[2].splitlines()[0].split(" && ")
    for line in (first, second):
        assert cli(*shlex.split(line)[1:]).returncode == 0
    text = (cli.folder / "other.toml").read_text()
    assert '[llm]\nprovider = "openai"' in text
    assert '\nmodel = "gpt-5.6-luna"\n# model =' in text  # where its section is, not behind what follows it


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["--config", "none.toml", "ask", "Hi"], "--config"),
        (["--config", ".", "ask", "Hi"], "--config"),
        (["--profile", "none", "ask", "Hi"], "--profile"),
    ],
)
def test_the_option_at_fault_is_named(cli: CommandLine, arguments: list[str], where: str) -> None:
    assert f" --> {where}\n" in cli(*arguments).stderr


def test_a_parameter_that_is_given_as_an_option_is_known_again(cli: CommandLine) -> None:
    done = cli("ask", "--max-tokens", "5", "Hi")
    assert done.returncode == 2
    assert "  = help: did you mean `-p max_tokens=VALUE`?\n" in done.stderr


def test_an_invalid_value_is_reported_with_valid_ones(cli: CommandLine) -> None:
    said = cli("ask", "--timeout", "soon", "Hi").stderr
    assert said.splitlines()[0] == "error[LC001]: argument --timeout: `soon` is not a duration greater than 0"
    assert '  = expected: a number of seconds, or a number and a unit: "500ms"' in said


def test_a_file_that_is_not_there_is_not_counted_in_silence(cli: CommandLine) -> None:
    done = cli("count", "notes.txt")
    assert (done.returncode, done.stderr) == (
        0,
        "note: file notes.txt does not exist; its name was counted as text\n",
    )
    assert cli("count", "hello").stderr == ""


def test_no_secret_is_put_into_quotes(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text("[llm.openai]\napi_key = abcdefgh\n")
    said = cli("ask", "Hi").stderr
    assert "not TOML" in said
    assert "abcdefgh" not in said
