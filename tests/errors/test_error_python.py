"""Fixes that errors propose in Python code can be pasted, and work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest

import llmcore
from llmcore import CacheManager
from llmcore.errors import (
    BadRequest,
    BudgetError,
    CacheError,
    ConfigError,
    LedgerError,
    LLMCoreError,
    PluginNotFound,
)


def merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Do by hand what a reader does who pastes a nested dict into another one."""
    for key, value in above.items():
        below[key] = merge(below.get(key, {}), value) if isinstance(value, Mapping) else value
    return below


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"llm": {"provider": "opnai"}}, '["llm"]["provider"]'),
        ({"retry": {"attempts": "four"}}, '["retry"]["attempts"]'),
        ({"ledger": {"enabled": "perhaps"}}, '["ledger"]["enabled"]'),
        ({"cache": {"ttl": "1 fortnight"}}, '["cache"]["ttl"]'),
        ({"voice": {"provider": "espaek"}}, '["voice"]["provider"]'),
        ({"budgets": [{"limit": "1 USD"}, {"limit": "many", "per": "month"}]}, '["budgets"][1]["limit"]'),
        ({"budgets": [{"limit": "1 USD", "model": "opnai:x"}]}, '["budgets"][0]["model"]'),
        ({"prices": {"echo:b": {"input": "x", "output": 1}}}, '["prices"]["echo:b"]["input"]'),
    ],
)
def test_the_fix_of_a_dict_mends_it(
    config: dict[str, Any], where: str, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    def use(given: dict[str, Any]) -> None:
        with llmcore.load(given) as core:
            core.backend("llm")
            core.backend("voice")

    with pytest.raises(LLMCoreError) as caught:
        use(config)
    assert caught.value.where == f"load(...){where}"
    assert caught.value.fix is not None
    pasted = deepcopy(config)
    if caught.value.fix.startswith("{"):
        pasted = merge(pasted, eval(caught.value.fix))  # noqa: S307 - what a reader of the error does
    else:
        exec(caught.value.fix, {"config": pasted})  # noqa: S102 - as above
    assert pasted != config
    use(pasted)


def test_a_key_of_a_dict_that_is_not_known_is_deleted() -> None:
    config: dict[str, Any] = {"cache": {"zzzz": 1}}
    with pytest.raises(ConfigError) as caught:
        llmcore.load(config)
    assert caught.value.fix == 'del config["cache"]["zzzz"]'
    exec(caught.value.fix, {"config": config})  # noqa: S102 - what a reader of the error does
    llmcore.load(config)


def test_a_misspelt_section_of_a_dict_gets_its_right_name() -> None:
    with pytest.raises(ConfigError) as caught:
        llmcore.load({"bugdet": {"limit": "1 USD"}})
    assert caught.value.fix == '{"budget": {...}}'


def test_a_fix_for_a_table_that_the_dict_lacks_is_a_dict_too() -> None:
    with llmcore.load({"llm": {"provider": "echo"}}) as core:
        assert core.settings.format_set_line(("retry", "attempts"), "8") == '{"retry": {"attempts": 8}}'
        assert core.settings.format_set_line(("ledger", "enabled"), "true") == '{"ledger": {"enabled": True}}'


def test_a_cache_manager_proposes_the_right_backend() -> None:
    with pytest.raises(PluginNotFound) as caught:
        CacheManager(backend="memroy")
    assert caught.value.where == 'backend="memroy"'
    assert caught.value.fix == 'CacheManager(backend="memory")'
    with pytest.raises(PluginNotFound) as caught:
        llmcore.get_cache("memroy")
    assert caught.value.fix == 'get_cache(backend="memory")'


@pytest.mark.parametrize(
    ("options", "where", "fix"),
    [
        ({"max_siz": "1MB"}, "CacheManager(max_siz=...)", 'CacheManager(backend="memory", max_size="1MB")'),
        ({"zzzz": 1}, "CacheManager(zzzz=...)", "CacheManager(...) without zzzz="),
    ],
)
def test_an_option_of_a_cache_manager_is_an_argument(options: Any, where: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CacheManager(backend="memory", **options)
    assert (caught.value.where, caught.value.fix) == (where, fix)


@pytest.mark.parametrize(
    ("message", "where", "nearest"),
    [
        ({"rol": "user", "content": "Hi"}, "messages[0]['rol']", "role"),
        ({"role": "user", "contents": "Hi"}, "messages[0]['contents']", "content"),
        ({"role": "asistant", "content": "Hi"}, "messages[0].role", "assistant"),
    ],
)
def test_the_fix_of_a_message_mends_it(message: dict[str, Any], where: str, nearest: str) -> None:
    messages: list[Any] = [message]
    with llmcore.load({"llm": {"provider": "echo"}, "cache": {"provider": "memory"}}) as core:
        with pytest.raises(BadRequest) as caught:
            core.llm.chat(messages)
        assert (caught.value.where, caught.value.suggestion) == (where, nearest)
        assert caught.value.fix is not None
        names = {"messages": messages, "core": core}
        exec(caught.value.fix, names)  # noqa: S102 - what a reader of the error does
        if not caught.value.fix.startswith("core."):
            assert core.llm.chat(messages).text


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (lambda core: core.llm.chat("Hi", temprature=0.2), "replace temprature=0.2 by temperature=0.2"),
        (lambda core: core.llm.chat("Hi", max_tokens="many"), "replace max_tokens='many' by max_tokens=1000"),
        (lambda core: core.llm.chat([{"rol": "user", "content": "Hi"}]), "core.llm.chat([{'role': 'user', 'content': 'Hi'}])"),
        (lambda core: core.llm.embed(["a", ""]), "core.llm.embed(['a'])"),
        (lambda core: core.llm.embed([""]), "embed([text for text in texts if text.strip()])"),
    ],
)  # fmt: skip
def test_the_fix_of_a_call_is_the_call_to_write(call: Callable[[llmcore.Core], Any], fix: str) -> None:
    with llmcore.load({"llm": {"provider": "echo"}}) as core, pytest.raises(BadRequest) as caught:
        call(core)
    assert caught.value.fix == fix


def test_an_argument_of_chat_is_proposed_for_its_misspelling() -> None:
    wrong: dict[str, Any] = {"modle": "echo"}
    with llmcore.load({"llm": {"provider": "echo"}}) as core, pytest.raises(BadRequest) as caught:
        core.llm.chat("Hi", **wrong)
    assert (caught.value.suggestion, caught.value.fix) == ("model", "replace modle='echo' by model='echo'")


def test_a_group_of_the_ledger_is_proposed() -> None:
    group: Any = "dya"
    with llmcore.load({}) as core, pytest.raises(LedgerError) as caught:
        core.usage.by(group)
    assert (caught.value.suggestion, caught.value.fix) == ("day", 'usage.by("day")')


def test_a_disabled_ledger_with_a_budget_is_turned_on_by_the_fix() -> None:
    config: dict[str, Any] = {
        "llm": {"provider": "echo"},
        "ledger": {"enabled": False},
        "budget": {"limit": "1 USD"},
        "prices": {"echo:echo": {"input": "1", "output": "1"}},
    }
    with llmcore.load(config) as core, pytest.raises(BudgetError) as caught:
        core.llm.chat("Hi", cache=False, max_tokens=5)
    assert caught.value.where == 'load(...)["ledger"]["enabled"]'
    assert caught.value.fix == '{"ledger": {"enabled": True}}'


def test_no_fix_proposes_one_key_for_all_calls() -> None:
    @CacheManager(backend="memory").cached()
    def double(x: object) -> str:
        return f"{x}"

    with pytest.raises(CacheError) as caught:
        double(object())
    assert "lambda" not in (caught.value.fix or "")
