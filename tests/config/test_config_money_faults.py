"""Faults in [budget], [[budgets]], [limits] and [ledger] are reported at their line, without addresses of alerts."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.config import load_settings, set_value
from llmcore.errors import ConfigError
from llmcore.types import Secret

HOOK = "https://hooks.example.com/services/canary"


def catch_faults(text: str, tmp_path: Path, **env: str) -> list[ConfigError]:
    (tmp_path / "llmcore.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(env=env, cwd=tmp_path)
    return list(caught.value.faults or (caught.value,))


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        (
            '[budget]\nlimit = "1.5 characters"',
            '`limit` must be an amount in USD or characters, got "1.5 characters"',
            "2:9",
        ),
        (
            '[budget]\nlimit = "5 EUR"',
            '`limit` must be an amount in USD or characters, got "5 EUR"',
            "2:9",
        ),
        ('[budget]\nlimit = "-5"', '`limit` must be an amount in USD or characters, got "-5"', "2:9"),
        ("[budget]\nlimit = -0.1", "`limit` must be an amount in USD or characters, got -0.1", "2:9"),
        ("[budget]\nlimit = nan", "`limit` must be an amount in USD or characters, got nan", "2:9"),
        (
            "[budget]\nlimit = 1e12",
            "`limit` must be an amount in USD or characters, got 1000000000000.0",
            "2:9",
        ),
        ("[budget]\nlimit = true", "`limit` must be an amount in USD or characters, got true", "2:9"),
        ('[budget]\nlimit = 1\nper = "week"', '`per` must be "day", "month" or "total", got "week"', "3:7"),
        (
            '[budget]\nlimit = 1\non_exceed = "stop"',
            '`on_exceed` must be "refuse" or "warn", got "stop"',
            "3:13",
        ),
        (
            '[budget]\nlimit = 1\nunknown_price = "warn"',
            '`unknown_price` must be "refuse" or "allow", got "warn"',
            "3:17",
        ),
        (
            "[budget]\nlimit = 1\nalert_faster_than = 1",
            "`alert_faster_than` must be a number greater than 1, got 1",
            "3:21",
        ),
        (
            '[smtp]\nhost = "h"\n[budget]\nlimit = 1\nalert_email = ["ann@example.com\\nBcc: ben@example.com"]',
            '`alert_email` must be an e-mail address or a list of them, got "ann@example.com\\nBcc: ben@example.com"',
            "5:16",
        ),
        (
            '[budget]\nlimit = 1\nalert_email = "ann@example.com"',
            "`alert_email` in [budget] needs a mail server, but `host` is missing in [smtp]",
            "3:1",
        ),
        ("[budget]\nlimit = 1\nalert_at = 0.5", "`alert_at` must be a list of fractions, got 0.5", "3:12"),
        (
            "[budget]\nlimit = 1\nalert_at = [0.5, 80]",
            "`alert_at` must be a list of fractions, got 80",
            "3:18",
        ),
        ("[budget]\nlimit = 1\nalert_at = [0]", "`alert_at` must be a list of fractions, got 0", "3:13"),
        (
            '[budget]\nlimit = 1\nalert_command = "notify me"',
            '`alert_command` must be a program and its arguments, got "notify me"',
            "3:17",
        ),
        (
            '[budget]\nlimit = 1\nalert_command = ["", "x"]',
            '`alert_command` must be a program and its arguments, got ""',
            "3:18",
        ),
        ('[budget]\nper = "day"', "`limit` is missing in [budget]", "1:2"),
        ("[[budgets]]\nlimit = 1\ntag = ''", '`tag` must be text, got ""', "3:7"),
        ('[[budgets]]\nlimit = 1\n[[budgets]]\ntag = "x"', "`limit` is missing in [budgets.1]", "3:3"),
        (
            '[[budgets]]\nlimit = 1\n[[budgets]]\nlimit = 1\nmodel = "gpt-6"',
            '`model` must be a model with its provider, got "gpt-6"',
            "5:9",
        ),
        (
            '[[budgets]]\nlimit = 1\nmodel = ":x"',
            '`model` must be a model with its provider, got ":x"',
            "3:9",
        ),
        (
            "budgets = [{ limit = 1 }, { limit = 2, pre = 3 }]",
            "unknown key `pre` in [budgets.1]",
            "1:40",
        ),
        ("[budgets]\nlimit = 1", "`budgets` must be a list of tables, got { limit = 1 }", "1:2"),
        ("budgets = [3]", "`budgets` must be a list of tables, got [3]", "1:1"),
        (
            "[profiles.prod]\n[[profiles.prod.budgets]]\nlimit = 1\n[[profiles.prod.budgets]]\nlimit = 'x'",
            '`limit` must be an amount in USD or characters, got "x"',
            "5:9",
        ),
        ("[limits]\nconcurrency = 0", "`concurrency` must be a whole number of at least 1, got 0", "2:15"),
        (
            "[limits]\nrequests_per_minute = 0.5",
            "`requests_per_minute` must be a whole number of at least 1, got 0.5",
            "2:23",
        ),
        ("[limits]\ntoken_per_minute = 5", "unknown key `token_per_minute` in [limits]", "2:1"),
        (
            '[limits."openai:gpt-6"]\ntokens_per_minute = "many"',
            '`tokens_per_minute` must be a whole number of at least 1, got "many"',
            "2:21",
        ),
        (
            '[limits."openai:"]\nconcurrency = 1',
            "a name in [limits] must be a provider or a model, got `openai:`",
            "1:9",
        ),
        ("[limits.openai]\nconcurency = 1", "unknown key `concurency` in [limits.openai]", "2:1"),
        ('[ledger]\ndurability = "most"', '`durability` must be "normal" or "full", got "most"', "2:14"),
        ("[ledger]\nenabled = 0", "`enabled` must be true or false, got 0", "2:11"),
        ("[ledger]\npath = 3", "`path` must be text, got 3", "2:8"),
    ],
)
def test_an_invalid_value_is_reported_at_its_line(
    text: str, message: str, where: str, tmp_path: Path
) -> None:
    (fault,) = catch_faults(text, tmp_path)
    assert (fault.message, fault.where) == (message, f"llmcore.toml:{where}")


def test_a_model_in_budget_is_reported_with_the_right_table(tmp_path: Path) -> None:
    (fault,) = catch_faults('[budget]\nlimit = 1\nmodel = "openai:x"\n', tmp_path)
    assert fault.render() == (
        "error[LC102]: unknown key `model` in [budget]\n"
        " --> llmcore.toml:3:1\n"
        '3 | model = "openai:x"\n'
        "  | ^^^^^\n"
        "  = expected: alert_at, alert_command, alert_email, alert_faster_than, alert_slack_url, alert_url, limit, on_exceed, per, unknown_price\n"
        "  = note: budgets of one model, tag or user are entries of [[budgets]]\n"
        "  = fix: llmcore config unset budget.model"
    )


def test_duplicate_budgets_are_reported_with_both_places(tmp_path: Path) -> None:
    (fault,) = catch_faults(
        '[budget]\nlimit = 1\n[[budgets]]\nlimit = 2\ntag = "a"\n[[budgets]]\nlimit = 3\nper = "total"\n',
        tmp_path,
    )
    assert fault.render() == (
        "error[LC113]: [budgets.1] is a second budget for the same calls and period as [budget]\n"
        " --> llmcore.toml:6:3\n"
        "6 | [[budgets]]\n"
        "  |   ^^^^^^^\n"
        "  = expected: budgets that differ in `per`, `model`, `tag`, `user` or the unit of `limit`\n"
        "  = note: [budget] is at llmcore.toml:1:2\n"
        "  = fix: llmcore config unset budgets.1"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LLMCORE__BUDGETS__2__LIMIT", "an entry of [[budgets]] must be a number from 0 to 1, got 2"),
        ("LLMCORE__BUDGETS__FIRST__LIMIT", "an entry of [[budgets]] must be a number, got `first`"),
        ("LLMCORE__BUDGETS__0__LIMT", "unknown key `limt` in [budgets.0]"),
        ("LLMCORE__BUDGETS__0", "`0` must be a table, got 5"),
        ("LLMCORE__BUDGETS", "`budgets` must be a list of tables, got 5"),
    ],
)
def test_a_variable_without_an_entry_is_reported(name: str, message: str, tmp_path: Path) -> None:
    (fault,) = catch_faults("[[budgets]]\nlimit = 1\n", tmp_path, **{name: "5"})
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
def test_no_fault_shows_the_address_of_an_alert(text: str, tmp_path: Path) -> None:
    for fault in catch_faults(text, tmp_path):
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
        if "/llmcore/config/" in Path(traceback.tb_frame.f_code.co_filename).as_posix():
            assert "canary" not in repr(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next
