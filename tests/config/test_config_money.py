"""[budget], [[budgets]], [limits] and [ledger]: how they are read, merged, located and mended."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from llmcore.config import LimitRule, Settings, load_settings, set_value, unset
from llmcore.errors import ConfigError
from llmcore.types import Secret
from tests.kits.cli import CommandLine

HOOK = "https://hooks.example.com/services/canary"


def load(text: str, tmp_path: Path, **env: str) -> Settings:
    (tmp_path / "llmcore.toml").write_text(text)
    return load_settings(env=env, cwd=tmp_path)


def test_every_key_of_a_budget_is_read(tmp_path: Path) -> None:
    settings = load(
        """
        [budget]
        limit = "5.00 USD"
        per = "day"
        on_exceed = "warn"
        unknown_price = "allow"
        alert_at = [1.0, 0.5, 0.8, 0.5]
        alert_url = "env:ALERT_WEBHOOK"
        alert_command = ["notify-send", "", "llmcore"]
        [[budgets]]
        limit = 0.1
        model = "openai:gpt-6-sol"
        per = "month"
        [[budgets]]
        limit = 7
        model = "openai:"
        [[budgets]]
        limit = 0
        tag = "nightly"
        user = "ann"
        """,
        tmp_path,
        ALERT_WEBHOOK=HOOK,
    )
    first, *others = settings.budgets
    assert (first.limit, first.per, first.on_exceed, first.unknown_price) == (
        Decimal("5.00"),
        "day",
        "warn",
        "allow",
    )
    assert first.alert_at == (0.5, 0.8, 1.0)
    assert first.alert_url == Secret(HOOK)
    assert first.alert_command == ("notify-send", "", "llmcore")
    assert (first.model, first.tag, first.user) == (None, None, None)
    assert [budget.limit for budget in others] == [Decimal("0.1"), Decimal(7), Decimal(0)]
    assert [budget.name for budget in settings.budgets] == [
        "day",
        "month openai:gpt-6-sol",
        "total openai:",
        "total tag=nightly user=ann",
    ]


def test_defaults_of_a_budget_are_the_strict_ones() -> None:
    (budget,) = load_settings({"budget": {"limit": 1}}, env={}).budgets
    assert (budget.per, budget.on_exceed, budget.unknown_price) == ("total", "refuse", "refuse")
    assert (budget.alert_at, budget.alert_url, budget.alert_command) == ((), None, ())


def test_by_default_there_is_a_ledger_without_budgets_and_limits(tmp_path: Path) -> None:
    settings = load_settings({}, env={"HOME": str(tmp_path)})
    assert (settings.budgets, dict(settings.limits)) == ((), {})
    assert (settings.ledger.durability, settings.ledger.enabled) == ("normal", True)
    assert settings.ledger.path == str(tmp_path / ".local/state/llmcore/ledger.sqlite3")
    assert load_settings({}, env={}).ledger.path is None


@pytest.mark.parametrize(
    ("limit", "read"),
    [
        ("5", "5"),
        ("0.30", "0.3"),
        ('"0.123456789012345678901 USD"', "0.123456789012345678901"),
        ('"1_000.5USD"', "1000.5"),
        ('"3"', "3"),
        ("0", "0"),
    ],
)
def test_a_limit_is_exact(limit: str, read: str, tmp_path: Path) -> None:
    assert load(f"[budget]\nlimit = {limit}", tmp_path).budgets[0].limit == Decimal(read)


def test_a_limit_from_a_variable_is_exact_too() -> None:
    env = {"LLMCORE__BUDGET__LIMIT": "0.123456789012345678901"}
    assert load_settings({}, env=env).budgets[0].limit == Decimal("0.123456789012345678901")


def test_the_limit_may_come_from_another_layer_than_the_rest(tmp_path: Path) -> None:
    text = '[budget]\nper = "day"\n[profiles.prod.budget]\nlimit = 9\n'
    (tmp_path / "llmcore.toml").write_text(text)
    assert load_settings(env={}, cwd=tmp_path, profile="prod").budgets[0].limit == 9
    assert load_settings(env={"LLMCORE__BUDGET__LIMIT": "3"}, cwd=tmp_path).budgets[0].per == "day"
    with pytest.raises(ConfigError, match="`limit` is missing"):
        load_settings(env={}, cwd=tmp_path)


def test_a_list_of_a_higher_layer_takes_the_whole_lists_place(tmp_path: Path) -> None:
    text = (
        '[[budgets]]\nlimit = 1\ntag = "a"\n[[budgets]]\nlimit = 2\ntag = "b"\nper = "day"\n'
        '[[profiles.prod.budgets]]\nlimit = 3\ntag = "c"\n'
    )
    (tmp_path / "llmcore.toml").write_text(text)
    settings = load_settings(env={}, cwd=tmp_path, profile="prod")
    assert [budget.name for budget in settings.budgets] == ["total tag=c"]
    assert settings.find_position("budgets.0.limit") == "llmcore.toml:9:1"
    assert [row.wins for row in settings.explain("budgets.1.per")] == [False]


def test_a_variable_changes_one_entry_or_adds_the_next(tmp_path: Path) -> None:
    text = '[[budgets]]\nlimit = 1\ntag = "a"\n'
    settings = load(
        text,
        tmp_path,
        LLMCORE__BUDGETS__0__LIMIT="1.5 USD",
        LLMCORE__BUDGETS__1__LIMIT="7",
        LLMCORE__BUDGETS__1__USER="007",
    )
    assert [(budget.limit, budget.name) for budget in settings.budgets] == [
        (Decimal("1.5"), "total tag=a"),
        (Decimal(7), "total user=007"),
    ]
    assert settings.find_position("budgets.0.limit") == "LLMCORE__BUDGETS__0__LIMIT"
    assert settings.find_position("budgets.0.tag") == "llmcore.toml:3:1"
    alone = load_settings({}, env={"LLMCORE__BUDGETS__0__LIMIT": "2"})
    assert [budget.limit for budget in alone.budgets] == [Decimal(2)]


def test_a_dict_is_read_like_a_file_and_copied() -> None:
    source: dict[str, Any] = {"budgets": [{"limit": "1 USD", "alert_url": Secret(HOOK)}]}
    settings = load_settings(source, env={})
    source["budgets"][0]["limit"] = 99
    assert [(budget.limit, budget.alert_url) for budget in settings.budgets] == [(Decimal(1), Secret(HOOK))]


def test_the_address_of_an_alert_is_resolved_when_it_is_used(tmp_path: Path) -> None:
    settings = load('[[budgets]]\nlimit = 1\nalert_url = "env:ALERT_WEBHOOK"\n', tmp_path)
    assert [item.value for item in settings.list_settings() if item.key == "budgets.0.alert_url"] == [
        '"env:ALERT_WEBHOOK"'
    ]
    with pytest.raises(ConfigError) as caught:
        _ = settings.budgets
    assert caught.value.render() == (
        "error[LC201]: no `alert_url` for [budgets.0]: the environment variable ALERT_WEBHOOK is not set\n"
        " --> llmcore.toml:3:13\n"
        '3 | alert_url = "env:ALERT_WEBHOOK"\n'
        "  |             ^^^^^^^^^^^^^^^^^^^\n"
        "  = expected: environment variable ALERT_WEBHOOK to be set\n"
        "  = fix: export ALERT_WEBHOOK=…"
    )
    settings = load('[budget]\nlimit = 1\nalert_url = "file:hook"\n', tmp_path)
    (tmp_path / "hook").write_text("not an address")
    with pytest.raises(ConfigError) as caught:
        _ = settings.budgets
    assert caught.value.message == "`alert_url` of [budget] must refer to a URL, got something else"
    (tmp_path / "hook").write_text(HOOK)
    assert settings.budgets[0].alert_url == Secret(HOOK)


def test_the_address_of_an_alert_is_never_shown(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    (tmp_path / "llmcore.toml").write_text(
        f'[budget]\nlimit = 1\nalert_url = "{HOOK}"\n[[budgets]]\nlimit = 2\ntag = "a"\nalert_url = "{HOOK}"\n'
    )
    settings = load_settings(env={}, cwd=tmp_path)
    assert settings.budgets[0].alert_url == settings.budgets[1].alert_url == Secret(HOOK)
    assert "canary" not in repr(settings.budgets)
    for arguments in (["show"], ["show", "--json"], ["explain", "budget"], ["explain", "budgets"],
                      ["explain", "budgets.0"], ["explain", "budgets.0.alert_url"], ["check"]):  # fmt: skip
        done = cli("config", *arguments)
        assert done.returncode == 0, done.stderr
        assert "canary" not in done.stdout + done.stderr
    assert 'budgets.0.tag = "a"' in cli("config", "show").stdout


def test_an_alert_that_leads_nowhere_is_found_by_check(tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text('[budget]\nlimit = 1\nalert_url = "env:GONE_HOOK"\n')
    done = CommandLine(tmp_path)("config", "check")
    assert done.returncode == 3
    assert "no `alert_url` for [budget]: the environment variable GONE_HOOK is not set" in done.stderr


def test_limits_are_of_all_of_one_provider_or_of_one_model(tmp_path: Path) -> None:
    settings = load(
        """
        [limits]
        requests_per_minute = 500
        tokens_per_minute = 200_000
        concurrency = 64
        [limits.openai]
        concurrency = 8
        [limits."openai:gpt-6-sol"]
        requests_per_minute = 5
        [limits.echo]
        """,
        tmp_path,
        LLMCORE__LIMITS__CONCURRENCY="32",
    )
    assert dict(settings.limits) == {
        "": LimitRule(500, 200_000, 32),
        "openai": LimitRule(concurrency=8),
        "openai:gpt-6-sol": LimitRule(requests_per_minute=5),
    }


def test_the_ledger_lies_in_the_state_folder_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for where in ("one", "two"):
        monkeypatch.setenv("XDG_STATE_HOME", f"/{where}")
        assert load_settings({}).ledger.path == f"/{where}/llmcore/ledger.sqlite3"
    monkeypatch.delenv("XDG_STATE_HOME")
    expected = Path(platformdirs.user_state_dir("llmcore", appauthor=False), "ledger.sqlite3")
    assert load_settings({}).ledger.path == str(expected)


def test_the_path_of_the_ledger_counts_from_the_file_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text(
        '[ledger]\npath = "data/book.db"\ndurability = "full"\nenabled = false\n'
    )
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    ledger = load_settings(env={}, cwd=deep).ledger
    assert (ledger.path, ledger.durability, ledger.enabled) == (str(tmp_path / "data/book.db"), "full", False)
    given = load_settings({"ledger": {"path": "book.db"}}, env={})
    assert given.ledger.path == str(Path.cwd() / "book.db")
    home = load_settings({"ledger": {"path": "~/book.db"}}, env={"HOME": "/home/ann"})
    assert home.ledger.path == "/home/ann/book.db"


def test_explain_knows_the_keys_of_an_entry_and_of_a_limit() -> None:
    settings = load_settings({"budgets": [{"limit": 1}], "limits": {"openai": {"concurrency": 2}}}, env={})
    assert settings.explain("budgets.0.limit")[0].value == "1"
    assert settings.explain("budgets")[0].value == "[{ limit = 1 }]"
    assert settings.explain("limits.openai")[0].value == "{ concurrency = 2 }"
    assert settings.explain("limits.echo") == []
    for key, meant in (
        ("budgets.0.limt", "budgets.0.limit"),
        ("limits.openai.concurency", "limits.openai.concurrency"),
    ):
        with pytest.raises(ConfigError) as caught:
            settings.explain(key)
        assert caught.value.suggestion == meant


def test_entries_are_set_added_and_taken_out_by_their_number(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text('# mine\n[[budgets]]\nlimit = 1 # a dollar\ntag = "a"\n\n[cache]\nttl = "1h"\n')
    set_value(file, "budgets.0.limit", "2 USD")
    assert file.read_text().startswith('# mine\n[[budgets]]\nlimit = "2 USD" # a dollar\n')
    set_value(file, "budgets.1.limit", "3 USD")
    set_value(file, "budgets.1.tag", "b")
    assert tomllib.loads(file.read_text())["budgets"] == [
        {"limit": "2 USD", "tag": "a"},
        {"limit": "3 USD", "tag": "b"},
    ]
    assert unset(file, "budgets.0")
    assert not unset(file, "budgets.1")
    assert unset(file, "budgets.0.tag")
    assert unset(file, "budgets.0")
    assert tomllib.loads(file.read_text()) == {"cache": {"ttl": "1h"}}
    set_value(file, "profiles.prod.budgets.0.limit", "4")
    assert load_settings(file, env={}, profile="prod").budgets[0].limit == 4
