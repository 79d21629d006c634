"""What is wrong with [budget], [[budgets]], [limits] and [ledger] is told at its line, and shows no address."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.config import load_settings, set_value
from llmcore.errors import ConfigError
from llmcore.types import Secret

HOOK = "https://hooks.example.com/services/canary"


def faults_of(text: str, tmp_path: Path, **env: str) -> list[ConfigError]:
    (tmp_path / "llmcore.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(env=env, cwd=tmp_path)
    return list(caught.value.faults or (caught.value,))


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        (
            '[budget]\nlimit = "1.5 characters"',
            '`limit` is not an amount of US dollars, or of characters: "1.5 characters"',
            "2:9",
        ),
        (
            '[budget]\nlimit = "5 EUR"',
            '`limit` is not an amount of US dollars, or of characters: "5 EUR"',
            "2:9",
        ),
        ('[budget]\nlimit = "-5"', '`limit` is not an amount of US dollars, or of characters: "-5"', "2:9"),
        ("[budget]\nlimit = -0.1", "`limit` is not an amount of US dollars, or of characters: -0.1", "2:9"),
        ("[budget]\nlimit = nan", "`limit` is not an amount of US dollars, or of characters: nan", "2:9"),
        (
            "[budget]\nlimit = 1e12",
            "`limit` is not an amount of US dollars, or of characters: 1000000000000.0",
            "2:9",
        ),
        ("[budget]\nlimit = true", "`limit` is not an amount of US dollars, or of characters: true", "2:9"),
        ('[budget]\nlimit = 1\nper = "week"', '`per` is not a period: "week"', "3:7"),
        (
            '[budget]\nlimit = 1\non_exceed = "stop"',
            '`on_exceed` is not a way to treat a call that does not fit: "stop"',
            "3:13",
        ),
        (
            '[budget]\nlimit = 1\nunknown_price = "warn"',
            '`unknown_price` is not a way to treat a call whose price nobody knows: "warn"',
            "3:17",
        ),
        ("[budget]\nlimit = 1\nalert_at = 0.5", "`alert_at` is not a list of fractions: 0.5", "3:12"),
        ("[budget]\nlimit = 1\nalert_at = [0.5, 80]", "`alert_at` is not a list of fractions: 80", "3:18"),
        ("[budget]\nlimit = 1\nalert_at = [0]", "`alert_at` is not a list of fractions: 0", "3:13"),
        (
            '[budget]\nlimit = 1\nalert_command = "notify me"',
            '`alert_command` is not a program and its arguments: "notify me"',
            "3:17",
        ),
        (
            '[budget]\nlimit = 1\nalert_command = ["", "x"]',
            '`alert_command` is not a program and its arguments: ""',
            "3:18",
        ),
        ('[budget]\nper = "day"', "`limit` is missing in [budget]", "1:2"),
        ("[[budgets]]\nlimit = 1\ntag = ''", '`tag` is not text: ""', "3:7"),
        ('[[budgets]]\nlimit = 1\n[[budgets]]\ntag = "x"', "`limit` is missing in [budgets.1]", "3:3"),
        (
            '[[budgets]]\nlimit = 1\n[[budgets]]\nlimit = 1\nmodel = "gpt-6"',
            '`model` is not a model with its provider: "gpt-6"',
            "5:9",
        ),
        ('[[budgets]]\nlimit = 1\nmodel = ":x"', '`model` is not a model with its provider: ":x"', "3:9"),
        (
            "budgets = [{ limit = 1 }, { limit = 2, pre = 3 }]",
            "unknown key `pre` in [budgets.1]",
            "1:40",
        ),
        ("[budgets]\nlimit = 1", "`budgets` is not a list of tables: { limit = 1 }", "1:2"),
        ("budgets = [3]", "`budgets` is not a list of tables: [3]", "1:1"),
        (
            "[profiles.prod]\n[[profiles.prod.budgets]]\nlimit = 1\n[[profiles.prod.budgets]]\nlimit = 'x'",
            '`limit` is not an amount of US dollars, or of characters: "x"',
            "5:9",
        ),
        ("[limits]\nconcurrency = 0", "`concurrency` is not a number of calls: 0", "2:15"),
        (
            "[limits]\nrequests_per_minute = 0.5",
            "`requests_per_minute` is not a number of requests: 0.5",
            "2:23",
        ),
        ("[limits]\ntoken_per_minute = 5", "unknown key `token_per_minute` in [limits]", "2:1"),
        (
            '[limits."openai:gpt-6"]\ntokens_per_minute = "many"',
            '`tokens_per_minute` is not a number of tokens: "many"',
            "2:21",
        ),
        (
            '[limits."openai:"]\nconcurrency = 1',
            "`openai:` in [limits] is not the name of a provider or model",
            "1:9",
        ),
        ("[limits.openai]\nconcurency = 1", "unknown key `concurency` in [limits.openai]", "2:1"),
        ('[ledger]\ndurability = "most"', '`durability` is not a durability: "most"', "2:14"),
        ("[ledger]\nenabled = 0", "`enabled` is not true or false: 0", "2:11"),
        ("[ledger]\npath = 3", "`path` is not text: 3", "2:8"),
    ],
)
def test_what_does_not_fit_is_told_at_its_line(text: str, message: str, where: str, tmp_path: Path) -> None:
    (fault,) = faults_of(text, tmp_path)
    assert (fault.message, fault.where) == (message, f"llmcore.toml:{where}")


def test_a_budget_for_one_model_in_the_wrong_place_is_told_the_right_one(tmp_path: Path) -> None:
    (fault,) = faults_of('[budget]\nlimit = 1\nmodel = "openai:x"\n', tmp_path)
    assert fault.render() == (
        "error[LC102]: unknown key `model` in [budget]\n"
        " --> llmcore.toml:3:1\n"
        '3 | model = "openai:x"\n'
        "  | ^^^^^\n"
        "  = expected: alert_at, alert_command, alert_url, limit, on_exceed, per, unknown_price\n"
        "  = note: a budget of one model, tag or user is one of the [[budgets]]\n"
        "  = fix: llmcore config unset budget.model"
    )


def test_two_budgets_for_the_same_calls_and_period_are_told_with_both_places(tmp_path: Path) -> None:
    (fault,) = faults_of(
        '[budget]\nlimit = 1\n[[budgets]]\nlimit = 2\ntag = "a"\n[[budgets]]\nlimit = 3\nper = "total"\n',
        tmp_path,
    )
    assert fault.render() == (
        "error[LC113]: [budgets.1] is a second budget for the same calls and period as [budget]\n"
        " --> llmcore.toml:6:3\n"
        "6 | [[budgets]]\n"
        "  |   ^^^^^^^\n"
        "  = expected: budgets that differ in per, model, tag, user, or what they count\n"
        "  = note: [budget] stands at llmcore.toml:1:2\n"
        "  = fix: llmcore config unset budgets.1"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LLMCORE__BUDGETS__2__LIMIT", "[[budgets]] has no entry 2, nor is it the next one"),
        ("LLMCORE__BUDGETS__FIRST__LIMIT", "`first` is not the number of an entry of [[budgets]]"),
        ("LLMCORE__BUDGETS__0__LIMT", "unknown key `limt` in [budgets.0]"),
        ("LLMCORE__BUDGETS__0", "`0` is not a table: 5"),
        ("LLMCORE__BUDGETS", "`budgets` is not a list of tables: 5"),
    ],
)
def test_a_variable_that_fits_no_entry_is_told(name: str, message: str, tmp_path: Path) -> None:
    (fault,) = faults_of("[[budgets]]\nlimit = 1\n", tmp_path, **{name: "5"})
    assert (fault.message, fault.where) == (message, name)


@pytest.mark.parametrize(
    "text",
    [
        f'[budget]\nlimit = "x"\nalert_url = "{HOOK}"',
        f'budget = {{ limit = "x", alert_url = "{HOOK}" }}',
        f'budgets = [{{ alert_url = "{HOOK}", limit = "x" }}]',
        f'[budget]\nlimit = 1\nalert_url = "ftp{HOOK}"',
        f'[budget]\nlimit = 1\nalert_ulr = "{HOOK}"',
        f'[[budgets]]\nlimit = 1\nalert_urls = ["{HOOK}"]',
        f'[budgets]\nlimit = 1\nalert_url = "{HOOK}"',
        f'alert_url = "{HOOK}"',
    ],
)
def test_no_fault_shows_where_an_alert_goes(text: str, tmp_path: Path) -> None:
    for fault in faults_of(text, tmp_path):
        assert "canary" not in fault.render()


def test_an_address_may_be_set_and_its_fault_shows_it_not(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    set_value(file, "budget.limit", "1")
    set_value(file, "budget.alert_url", HOOK)
    assert load_settings(file, env={}).budgets[0].alert_url == Secret(HOOK)
    with pytest.raises(ConfigError) as caught:
        set_value(file, "budget.alert_url", "ftp" + HOOK)
    assert "canary" not in caught.value.render()
    traceback = caught.value.__traceback__
    while traceback is not None:
        if "config" in Path(traceback.tb_frame.f_code.co_filename).parts:
            assert "canary" not in repr(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next
