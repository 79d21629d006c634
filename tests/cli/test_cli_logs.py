"""`llmcore logs`: list, search, one entry in full, and nothing while the log is off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmcore.content_log.database import LogFile
from tests.kits.cli import CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def find_log(cli: CommandLine) -> Path:
    return Path(cli.env["XDG_STATE_HOME"], "llmcore/log.sqlite3")


def test_the_log_is_off_at_first_and_one_line_turns_it_on(cli: CommandLine) -> None:
    cli("ask", "very secret")
    done = cli("logs")
    assert (done.stdout, done.returncode) == ("", 0)
    assert "llmcore config set log.content true" in done.stderr
    assert cli("logs", "1").returncode == 2
    assert json.loads(cli("logs", "--json").stdout)["entries"] == []
    assert not find_log(cli).exists()
    assert cli("config", "set", "log.content", "true").returncode == 0
    cli("ask", "What is rain?")
    cli("ask", "What is rain?")
    cli("chat", stdin="And snow?\n")
    shown = json.loads(cli("logs", "--json").stdout)["entries"]
    assert [(each["prompt"], each["cached"]) for each in shown] == [
        ("And snow?", False), ("What is rain?", True), ("What is rain?", False),
    ]  # fmt: skip


def test_search_model_and_number_narrow_the_list(cli: CommandLine) -> None:
    file = LogFile(find_log(cli))
    for at, model in enumerate(["tiny", "large", "tiny"]):
        file.add(
            {"time": 1e9 + at, "provider": "x", "model": model, "prompt": f"Rain {at}", "answer": "Falls"}
        )
    file.close()

    def find(*arguments: str) -> list[str]:
        return [each["prompt"] for each in json.loads(cli("logs", "--json", *arguments).stdout)["entries"]]

    assert find() == ["Rain 2", "Rain 1", "Rain 0"]
    assert find("--search", "rain", "fall") == find()
    assert find("--search", "rain 1") == ["Rain 1"]
    assert find("--model", "tiny", "-n", "1") == ["Rain 2"]
    assert find("--model", "x:large") == ["Rain 1"]
    assert cli("logs", "--search", "hail").stderr == "no call has these words\n"


def test_one_entry_is_shown_in_full_and_deleted(cli: CommandLine) -> None:
    long = "word " * 500
    cli("ask", "-s", "Be brief", long, LLMCORE__LOG__CONTENT="true")
    shown = cli("logs", "1").stdout
    assert f"\nuser\n{long.strip()}" in shown
    assert "\nsystem\nBe brief\n" in shown
    assert json.loads(cli("logs", "1", "--json").stdout)["messages"][0]["content"] == "Be brief"
    assert cli("logs", "2").returncode == 2
    assert cli("logs", "1", "--delete").returncode == 0
    assert cli("logs").stderr == "the log is empty\n"


@pytest.mark.parametrize("arguments", [["--delete"], ["-n", "-1"], ["1", "--search", "x"], ["one"]])
def test_mistakes_are_usage_errors(cli: CommandLine, arguments: list[str]) -> None:
    assert cli("logs", *arguments).returncode == 2


def test_a_file_that_is_not_a_log_is_an_error(cli: CommandLine) -> None:
    (cli.folder / "notes.txt").write_text("these are notes of a person, and no database at all\n" * 20)
    done = cli("logs", LLMCORE__LOG__PATH="notes.txt")
    assert done.returncode == 2
    assert "the log cannot be read" in done.stderr


def test_a_misspelt_setting_is_an_error_before_anything_is_asked(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text('[log]\ncontent = true\nredact = ["("]\n')
    done = cli("ask", "Hi")
    assert (done.stdout, done.returncode) == ("", 3)
    assert "llmcore.toml:3:" in done.stderr
    assert "regular expression" in done.stderr
    (cli.folder / "llmcore.toml").write_text("[log]\ncontnet = true\n")
    assert "did you mean `content`?" in cli("ask", "Hi").stderr


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_is_as_it_was_looked_at(width: int, cli: CommandLine) -> None:
    file = LogFile(find_log(cli))
    rows = [
        ("gpt-5.6-luna", "0.00042", 0, "What is the difference between rain and drizzle?", "Drizzle has smaller drops.", None),
        ("gpt-5.6-luna", "0", 1, "What is the difference between rain and drizzle?", "Drizzle has smaller drops.", None),
        ("qwen3:4b", None, 0, "Write a haiku", "", "Unavailable"),
    ]  # fmt: skip
    for at, (model, cost, cached, prompt, answer, error) in enumerate(rows):
        file.add(
            {
                "time": 1764410400 + 60 * at, "model": model, "cost": cost, "cached": cached, "prompt": prompt,
                "answer": answer, "error": error,
            }
        )  # fmt: skip
    file.close()
    shown = cli("logs", COLUMNS=str(width), NO_COLOR="1", TZ="UTC").stdout
    screens = Path(__file__).parents[1] / "fixtures" / "screens"
    assert shown == (screens / f"logs-{width}.txt").read_text("utf-8")
