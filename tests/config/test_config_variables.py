"""A variable that looks like a setting and is not read: a warning when a program loads, an error in `config check`."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from llmcore.cli import main
from llmcore.config import load_settings
from llmcore.config.variables import READ

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LLMCORE_BUDGET__LIMIT", "LLMCORE__BUDGET__LIMIT"),
        ("LLMCORE_BUDGET_LIMIT", "LLMCORE__BUDGET__LIMIT"),
        ("LLMCORE_CACHE_PROVIDER", "LLMCORE__CACHE__PROVIDER"),
        ("LLMCORE_CACHE__PROVIDR", "LLMCORE__CACHE__PROVIDER"),
        ("LLMCORE_PROFIL", "LLMCORE_PROFILE"),
        ("LLMCORE_CONFGI", "LLMCORE_CONFIG"),
        ("LLMCORE_QQQ", None),
    ],
)
def test_a_misspelt_variable_is_found_with_its_nearest_name(name: str, meant: str | None) -> None:
    (warning,) = load_settings({}, env={name: "x"}).warnings
    assert name in warning.message
    assert warning.suggestion == meant
    assert (warning.fix or "").endswith(f"unset {name}")


@pytest.mark.parametrize("name", [*READ, "LLMCORE__CACHE__TTL", "LLMCOREX", "MY_LLMCORE_X", "llmcore"])
def test_a_variable_of_ours_or_of_others_is_not_reported(name: str) -> None:
    value = {"LLMCORE__CACHE__TTL": "1h", "LLMCORE_CONFIG": "/dev/null"}.get(name, "x")
    settings = load_settings({"profiles": {"x": {}}}, env={name: value})
    assert settings.warnings == ()


def test_a_variable_that_a_reference_names_is_read() -> None:
    tree = {
        "llm": {"openai": {"api_key": "env:LLMCORE_KEY"}},
        "budget": {"limit": 1, "alert_url": "env:LLMCORE_HOOK"},
    }
    assert load_settings(tree, env={"LLMCORE_KEY": "k", "LLMCORE_HOOK": "http://h"}).warnings == ()


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({}, env={"LLMCORE_BUDGET__LIMIT": ""}).warnings == ()


def test_loading_warns_once_a_process(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "llmcore"):
        for _ in range(3):
            load_settings({}, env={"LLMCORE_RETRY__ATEMPTS": "1"})
    assert [record.getMessage() for record in caplog.records] == [
        "llmcore does not read the variable LLMCORE_RETRY__ATEMPTS; did you mean LLMCORE__RETRY__ATTEMPTS?"
    ]


def test_config_check_reports_it_as_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMCORE_BUDGET__LIMIT", "0")
    assert main(["config", "check"]) == 3
    said = capsys.readouterr().err
    assert "error[LC102]: llmcore does not read the variable LLMCORE_BUDGET__LIMIT" in said
    assert 'fix: export LLMCORE__BUDGET__LIMIT="$LLMCORE_BUDGET__LIMIT"; unset LLMCORE_BUDGET__LIMIT' in said


def test_the_table_names_every_variable_that_the_project_reads() -> None:
    read: set[str] = set()
    folders = ("llmcore", "plugins", "tests", "benchmarks", "scripts", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")] + [ROOT / "Makefile"]
    for path in files:
        if path.suffix in {".py", ""} and path.is_file() and path != Path(__file__):
            text = path.read_text(encoding="utf-8", errors="ignore")
            read |= set(re.findall(r"""(?:environ|getenv)[^\n]{0,12}["'](LLMCORE_[A-Z][A-Z_]*)""", text))
            read |= set(re.findall(r"^(?:export )?(LLMCORE_[A-Z_]+) *[?:]?=[^=]", text, re.MULTILINE))
    read -= {"LLMCORE_API"}  # an attribute of a plugin's module
    assert read <= READ.keys()
