"""extra_body= carries any parameter of a server; the key and budgets see it as any other parameter."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest, BudgetError, BudgetExceeded, ConfigError
from llmcore_testing import Simulator

EXTRA: Mapping[str, Any] = {
    "top_k": 5,
    "min_p": 0.1,
    "chat_template_kwargs": {"enable_thinking": False},
    "provider": {"order": ["one"]},
    "thinking": {"type": "disabled"},
    "extra_body": {
        "google": {"thinking_config": {"include_thoughts": True}}
    },  # as Gemini's endpoint takes it
    "guided_json": {"type": "object"},
    "nothing": None,
}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as upstream:
        yield upstream


def open_core(upstream: Simulator, extra_body: Any = None, **tables: Any) -> llmcore.Core:
    openai: dict[str, Any] = {"base_url": upstream.base_url, "api_key": "sk-test"}
    if extra_body is not None:
        openai["extra_body"] = extra_body
    llm = {"provider": "openai", "model": "gpt-5.6-luna", "openai": openai}
    return llmcore.load({"llm": llm, "cache": {"provider": "memory"}, "retry": {"attempts": 1}, **tables})


def list_bodies(upstream: Simulator) -> list[dict[str, Any]]:
    return [request.body for request in upstream.requests]


async def _aask(core: llmcore.Core, way: str, given: Mapping[str, Any]) -> str:
    if way == "achat":
        return (await core.llm.achat("Hello", **given)).text
    return "".join([delta.text async for delta in core.llm.astream("Hello", **given)])


def answer(core: llmcore.Core, way: str, **given: Any) -> str:
    if way == "chat":
        return core.llm.chat("Hello", **given).text
    if way == "stream":
        return "".join(delta.text for delta in core.llm.stream("Hello", **given))
    return asyncio.run(_aask(core, way, given))


@pytest.mark.parametrize("way", ["chat", "achat", "stream", "astream"])
def test_extra_body_is_sent_and_part_of_the_key(upstream: Simulator, way: str) -> None:
    with open_core(upstream) as core:
        first = answer(core, way, extra_body=EXTRA)
        assert answer(core, way, extra_body=dict(reversed([*EXTRA.items()]))) == first
        assert len(upstream.requests) == 1
        answer(core, way, extra_body={**EXTRA, "top_k": 6})
        answer(core, way)
    sent = list_bodies(upstream)
    assert len(sent) == 3
    assert {name: sent[0][name] for name in EXTRA} == EXTRA
    assert sent[1]["top_k"] == 6
    assert "top_k" not in sent[2]


def test_the_call_wins_over_a_parameter_and_that_over_the_table(upstream: Simulator) -> None:
    table = {"top_k": 1, "temperature": 0.1, "seed": 1, "chat_template_kwargs": {"a": 1}}
    with open_core(upstream, table) as core:
        core.llm.chat("a")
        core.llm.chat("b", temperature=0.2, seed=2, extra_body={"seed": 3, "chat_template_kwargs": {"b": 2}})
        core.llm.chat("c", temperature=None)
    first, second, third = list_bodies(upstream)
    assert {name: first[name] for name in table} == table
    assert (second["top_k"], second["temperature"], second["seed"]) == (1, 0.2, 3)
    assert second["chat_template_kwargs"] == {"b": 2}  # by its name; values are not merged
    assert third["temperature"] == 0.1


def test_a_parameter_makes_the_same_request_wherever_it_is_given(upstream: Simulator) -> None:
    with open_core(upstream) as core:
        core.llm.chat("Hello", temperature=0.5)
        assert core.llm.chat("Hello", extra_body={"temperature": 0.5}).cached
    with open_core(upstream, {"top_k": 5}) as core:
        core.llm.chat("Hello")
        assert core.llm.chat("Hello", extra_body={"top_k": 5}).cached


@pytest.mark.parametrize("name", ["model", "messages", "stream"])
def test_fields_that_llmcore_sets_are_rejected_in_extra_body(upstream: Simulator, name: str) -> None:
    with open_core(upstream) as core:
        with pytest.raises(BadRequest, match=f"extra_body must not set `{name}`") as caught:
            core.llm.chat("Hello", extra_body={name: "x"})
        assert (caught.value.where, bool(caught.value.fix)) == (f"extra_body.{name}", True)
    said = rf"\[llm.openai\] extra_body must not set `{name}`"
    with open_core(upstream, {name: "x"}) as core, pytest.raises(ConfigError, match=said):
        core.llm.chat("Hello")
    assert not upstream.requests


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([("top_k", 5)], "extra_body must be a dict, got list"),
        ("top_k=5", "extra_body must be a dict, got str"),
        ({"a": [float("nan")]}, "extra_body.a[0] must be a finite number, got nan"),
        ({"a": b"x"}, "extra_body.a must be text, got bytes"),
    ],
)
def test_an_extra_body_that_is_not_json_is_refused(upstream: Simulator, extra: Any, said: str) -> None:
    with open_core(upstream) as core, pytest.raises(BadRequest) as caught:
        core.llm.chat("Hello", extra_body=extra)
    assert caught.value.message == said
    assert not upstream.requests


def test_a_date_in_the_table_is_a_fault_of_the_configuration(upstream: Simulator) -> None:
    said = r"extra_body\.a\.day must be a JSON value, got datetime.date"
    table = {"a": {"day": dt.date(2026, 1, 1)}}
    with open_core(upstream, table) as core, pytest.raises(ConfigError, match=said):
        core.llm.chat("Hello")


def test_an_unknown_parameter_is_still_refused_and_the_error_names_extra_body(upstream: Simulator) -> None:
    with open_core(upstream) as core:
        with pytest.raises(BadRequest) as caught:
            core.llm.chat("Hello", top_k=5)  # type: ignore[call-arg]
        assert caught.value.fix == "replace top_k=5 by extra_body={'top_k': 5}"
        with pytest.raises(BadRequest) as caught:
            core.llm.chat("Hello", temprature=1)  # type: ignore[call-arg]
        assert (caught.value.suggestion, caught.value.fix) == (
            "temperature",
            "replace temprature=1 by temperature=1",
        )
        assert "extra_body" in str(caught.value)
        with pytest.raises(BadRequest) as caught:
            core.llm.chat("Hello", my_api_key="sk-" + "4711" * 20)  # type: ignore[call-arg]
        assert "4711" not in str(caught.value)


def test_a_provider_that_does_not_declare_it_refuses_extra_body(scripted: Any) -> None:
    core = llmcore.load({"llm": {"provider": "scripted"}})
    with pytest.raises(BadRequest, match="unknown parameter `extra_body` for the llm provider `scripted`"):
        core.llm.chat("Hello", extra_body={"top_k": 5})
    assert scripted.requests == []


PRICES = {"openai:m": {"input": 1, "output": 1_000_000}, "openai:dear": {"input": 1, "output": 2_000_000}}
"""USD per million tokens: a token of output costs 1 USD, or 2."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_tokens": 50, "extra_body": {"max_tokens": 70}}, 70),
        ({"extra_body": {"max_tokens": 70}}, 70),
        ({"extra_body": {"max_tokens": "70"}}, 70),
        ({"extra_body": {"max_tokens": 69.5}}, 70),
        ({"max_tokens": 10, "extra_body": {"max_completion_tokens": 70}}, 70),
        ({"max_completion_tokens": 10, "extra_body": {"max_tokens": 70}}, 70),
        ({"max_tokens": 10, "extra_body": {"n_predict": 70}}, 70),
        ({"max_tokens": 35, "extra_body": {"n": 2}}, 70),
        ({"max_tokens": 35, "extra_body": {"n": "2"}}, 70),
        ({"max_tokens": 35, "extra_body": {"best_of": 2}}, 70),
        ({"max_tokens": 30, "extra_body": {"thinking_budget": 40}}, 70),
        ({"max_tokens": 30, "extra_body": {"thinking": {"type": "enabled", "budget_tokens": 40}}}, 70),
        ({"max_tokens": 35, "extra_body": {"models": ["m", "dear"]}}, 70),
    ],
)
@pytest.mark.parametrize("place", ["call", "table"])
def test_a_budget_reserves_what_extra_body_allows(
    upstream: Simulator, given: dict[str, Any], most: int, place: str
) -> None:
    extra = given.get("extra_body", {})
    call = {name: value for name, value in given.items() if name not in {"extra_body", *extra}}
    if place == "call":
        call = given
    for limit in (most - 1, most + 1):
        tables = {"budget": {"limit": f"{limit} USD", "per": "total"}, "prices": PRICES}
        with open_core(upstream, extra if place == "table" else None, **tables) as core:
            if limit < most:
                with pytest.raises(BudgetExceeded):
                    core.llm.chat("Hello", model="m", cache=False, **call)
                assert not upstream.requests
            else:
                with contextlib.suppress(BadRequest):  # OpenAI itself refuses some of it; others do not
                    core.llm.chat("Hello", model="m", cache=False, **call)
                assert upstream.requests


@pytest.mark.parametrize("limit", [-1, "unlimited", {"a": 1}])
def test_extra_body_without_a_limit_is_unbounded_for_a_budget(upstream: Simulator, limit: Any) -> None:
    tables = {"budget": {"limit": "1000 USD", "per": "total"}, "prices": PRICES}
    with open_core(upstream, **tables) as core, pytest.raises(BudgetError, match="has no upper bound"):
        core.llm.chat("Hello", model="m", max_completion_tokens=5, extra_body={"max_tokens": limit})
    assert not upstream.requests


def test_a_service_tier_in_extra_body_is_reserved_at_its_price(upstream: Simulator) -> None:
    def most(**given: Any) -> Any:
        with open_core(upstream, budget={"limit": "0.00001 USD", "per": "total"}) as core:
            with pytest.raises(BudgetExceeded) as caught:
                core.llm.chat("Hello", max_tokens=1000, **given)
            return caught.value.message

    assert most(extra_body={"service_tier": "priority"}) == most(service_tier="priority") != most()


def test_a_state_of_the_server_in_extra_body_keeps_the_answer_out_of_the_cache(upstream: Simulator) -> None:
    with open_core(upstream) as core:
        for _ in range(2):
            assert not core.llm.chat("Hello", extra_body={"previous_response_id": "r1"}).cached


def test_tokens_in_extra_body_are_counted() -> None:
    tools = [{"type": "function", "function": {"name": "weather", "description": "Get the weather"}}]
    llm = llmcore.load({"llm": {"provider": "openai", "model": "gpt-4o"}}).llm
    talk = [{"role": "user", "content": "Hello"}]
    plain = llm.count_tokens(talk)
    assert llm.count_tokens(talk, extra_body={"tools": tools}) == llm.count_tokens(talk, tools=tools) > plain
    with pytest.raises(BadRequest, match="extra_body must not set `model`"):
        llm.count_tokens(talk, extra_body={"model": "m"})


def test_the_values_of_the_table_are_not_shown(upstream: Simulator) -> None:
    with open_core(upstream, {"data_sources": [{"key": "sk-canary"}]}) as core:
        shown = repr(core.backend("llm", "openai").options)
    assert "data_sources" in shown
    assert "canary" not in shown


def test_a_decimal_is_sent_with_all_its_digits(upstream: Simulator) -> None:
    long = Decimal("0.30000000000000000001")
    tenth: Any = Decimal("0.1")
    with open_core(upstream) as core:
        core.llm.chat("Hello", temperature=tenth, extra_body={"min_p": long})
        list(core.llm.stream("Hello", extra_body={"min_p": long}, cache=False))
    for request in upstream.requests:
        assert b'"min_p":0.30000000000000000001' in request.raw
    assert b'"temperature":0.1' in upstream.requests[0].raw


def test_the_provider_class_takes_an_extra_body(upstream: Simulator) -> None:
    from llmcore_openai_optimized import OptimizedOpenAIProvider

    with OptimizedOpenAIProvider(
        model="gpt-5.6-luna",
        api_key="sk-test",
        base_url=upstream.base_url,
        cache_backend="memory",
        extra_body={"top_k": 5},
    ) as provider:
        provider.generate_completion("Hello", extra_body={"min_p": 0.1})
    assert (list_bodies(upstream)[0]["top_k"], list_bodies(upstream)[0]["min_p"]) == (5, 0.1)
