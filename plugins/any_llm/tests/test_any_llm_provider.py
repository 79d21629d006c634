"""Chats through any-llm with the cache, budgets, ledger and errors of llmcore, against the simulated upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    ConfigError,
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    NotFound,
    PluginBroken,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.types import Usage
from llmcore_any_llm.offline import Offline
from llmcore_any_llm.options import AnyLLMOptions
from llmcore_any_llm.vendors import LOCAL, VENDORS
from llmcore_testing import Fault, Simulator

KEY = "sk-canary-0123456789"
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the cache and the ledger of the user, and of earlier runs on the same port."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def load(upstream: Simulator, **more: Any) -> llmcore.Core:
    llm = {
        "provider": "any_llm",
        "model": "openai:gpt-4o-mini",
        "any_llm": {"api_base": upstream.base_url, "api_key": KEY},
        **more.pop("llm", {}),
    }
    return llmcore.load({"llm": llm, "retry": {"attempts": 1}, **more})


@pytest.mark.slow
def test_each_way_to_call_gives_the_answer_once_and_then_from_the_cache(upstream: Simulator) -> None:
    async def collect(core: llmcore.Core) -> str:
        return "".join([delta.text async for delta in core.llm.astream("three")])

    with load(upstream) as core:
        reply = core.llm.chat("one")
        assert (reply.provider, reply.model, reply.cached) == ("any_llm", "openai:gpt-4o-mini", False)
        assert reply.text.endswith("one")
        assert reply.usage.input_tokens > 0
        assert reply.usage.output_tokens > 0
        assert reply.cost is not None
        assert reply.cost > 0
        assert "".join(delta.text for delta in core.llm.stream("two")).endswith("two")
        assert asyncio.run(collect(core)).endswith("three")
        assert asyncio.run(core.llm.achat("four")).text.endswith("four")
        assert all(core.llm.chat(text).cached for text in ("one", "two", "three", "four"))
        assert sum(row.requests for row in core.usage.by("model")) == 4
    assert len(upstream.requests) == 4
    assert {request.headers["authorization"] for request in upstream.requests} == {f"Bearer {KEY}"}


def test_a_stream_has_its_usage_and_its_calls(upstream: Simulator) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    upstream.replies({"tool_calls": [call, call]}, {"tool_calls": [call]})
    with load(upstream) as core:
        deltas = list(core.llm.stream("Weather?", tools=[TOOL]))
        whole = core.llm.chat("Weather, again?", tools=[TOOL])
        kept = core.llm.chat("Weather?", tools=[TOOL])
    assert deltas[-1].finish_reason == "tool_calls"
    assert [call.arguments for call in kept.tool_calls] == ['{"city":"Oslo"}'] * 2
    assert [call.name for call in whole.tool_calls] == ["weather"]
    assert kept.usage.output_tokens > 0
    assert not kept.usage.estimated


def test_a_typed_answer_and_a_parameter_of_the_server(upstream: Simulator) -> None:
    with load(upstream) as core:
        schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
        core.llm.chat("Hello", response_format=schema, extra_body={"top_k": 5})
    body = upstream.requests[-1].body
    assert (body["top_k"], body["response_format"]) == (5, schema)


def test_embeddings_and_the_list_of_models(upstream: Simulator) -> None:
    with load(
        upstream, llm={"any_llm": {"api_base": upstream.base_url, "api_key": KEY, "vendor": "openai"}}
    ) as core:
        found = core.llm.embed(["one", "two"], model="openai:text-embedding-3-small")
        assert len(found.vectors) == 2
        assert found.usage.input_tokens > 0
        assert "gpt-4o-mini" in core.llm.models()


def test_a_budget_stops_a_call_before_it_is_sent(upstream: Simulator) -> None:
    with (
        load(upstream, budget={"limit": "0.000001 USD", "per": "total"}) as core,
        pytest.raises(BudgetExceeded),
    ):
        core.llm.chat("Hello " * 50, max_tokens=1000)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.status(400), BadRequest),
        (Fault.status(401), AuthenticationFailed),
        (Fault.status(402), QuotaExhausted),
        (Fault.status(404), NotFound),
        (Fault.status(429, retry_after=7), RateLimited),
        (Fault.status(500), Unavailable),
        (Fault.status(503), Unavailable),
        (Fault.bad_json(), MalformedReply),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:40],
)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_a_failure_of_the_server_becomes_ours(
    fault: Fault, kind: type[LLMCoreError], *, streaming: bool, upstream: Simulator
) -> None:
    upstream.fail(fault, times=None)
    with load(upstream) as core, pytest.raises(kind) as caught:
        _ = list(core.llm.stream("Hello")) if streaming else core.llm.chat("Hello")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert KEY not in str(caught.value)
    assert getattr(caught.value, "retry_after", None) == (7 if kind is RateLimited else None)


def test_a_stream_that_breaks_gives_what_had_come(upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=3))
    with load(upstream) as core, pytest.raises(IncompleteReply) as caught:
        list(core.llm.stream("Tell me a long story, please"))
    assert caught.value.partial


def test_silence_in_a_stream_is_a_timeout(upstream: Simulator) -> None:
    upstream.fail(Fault.stall(after=2), times=None)
    with load(upstream, retry={"attempts": 1, "idle": "300ms"}) as core, pytest.raises(Timeout):
        list(core.llm.stream("Hello"))


def test_a_server_that_is_away_is_unavailable_and_nothing_was_sent(
    upstream: Simulator, tmp_path: Path
) -> None:
    del tmp_path
    with Simulator() as other:
        away = other.base_url
    with load(upstream, llm={"any_llm": {"api_base": away, "api_key": KEY}}) as core:
        with pytest.raises(Unavailable) as caught:
            core.llm.chat("Hello")
        assert caught.value.sent is False


@pytest.mark.parametrize(
    ("model", "kind", "word"),
    [
        ("any_llm:mistrl:x", BadRequest, "mistral"),
        ("any_llm:gpt-4o-mini", BadRequest, "VENDOR:MODEL"),
        ("any_llm:cohere:command", PluginBroken, "any-llm-sdk[cohere]"),
    ],
)
def test_a_vendor_that_cannot_be_asked_is_explained(
    model: str, kind: type[LLMCoreError], word: str, upstream: Simulator
) -> None:
    with load(upstream) as core, pytest.raises(kind) as caught:
        core.llm.chat("Hello", model=model)
    assert word in str(caught.value)
    assert caught.value.__context__ is None


def test_a_missing_key_names_the_variable(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    core = load(upstream, llm={"any_llm": {"api_base": upstream.base_url}})
    with core, pytest.raises(ConfigError) as caught:
        core.llm.chat("Hello")
    assert caught.value.fix == "export OPENAI_API_KEY=..."


def test_a_refused_key_of_a_vendor_without_a_variable_names_none(upstream: Simulator) -> None:
    upstream.fail(Fault.status(401), times=None)
    with (
        load(upstream, llm={"model": "llamafile:tiny"}) as core,
        pytest.raises(AuthenticationFailed) as caught,
    ):
        core.llm.chat("Hello")
    assert "None" not in str(caught.value)


def test_a_table_or_an_instance_of_a_vendors_name_wins(upstream: Simulator) -> None:
    own = {"base_url": upstream.base_url, "api_key": "sk-own"}
    with load(upstream, llm={"openai": own, "mistral": {"use": "openai", **own}}) as core:
        assert core.llm.chat("Hello", model="openai:tiny").provider == "openai"
        assert core.llm.chat("Hello", model="mistral:tiny").provider == "mistral"
        assert core.llm.chat("Hello", model="llamafile:tiny").provider == "any_llm"
        assert core.llm.chat("Hello", model="any_llm:openai:tiny").provider == "any_llm"


def test_an_own_server_on_this_machine_is_free_and_a_vendor_that_cannot_stream_answers_whole(
    upstream: Simulator,
) -> None:
    with load(upstream, llm={"model": "llamafile:tiny"}) as core:
        assert core.llm.chat("Hello").cost == Decimal(0)
        assert "".join(delta.text for delta in core.llm.stream("Good morning")).endswith("Good morning")
    assert not upstream.requests[-1].body.get("stream")


@pytest.mark.parametrize(
    ("address", "price"),
    [
        (None, Decimal(0)),
        ("", Decimal(0)),
        ("127.0.0.1:11434", Decimal(0)),
        ("http://localhost.:11434/v1", Decimal(0)),
        ("0.0.0.0", Decimal(0)),  # noqa: S104 - a client connects to this machine
        (":11434", Decimal(0)),
        ("[::1]:11434", Decimal(0)),
        ("gpu-box:11434", None),
        ("http://10.0.0.7:8000/v1", None),
        ("http://[::1", None),
    ],
)
@pytest.mark.parametrize("vendor", ["ollama", "lmstudio"])
def test_an_own_server_is_free_only_on_this_machine(
    vendor: str, address: str | None, price: Decimal | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = Usage(input_tokens=1000, output_tokens=1000)
    monkeypatch.delenv(LOCAL[vendor], raising=False)
    if address is not None:
        assert Offline(AnyLLMOptions(api_base=address)).price(f"{vendor}:tiny", usage) == price
        monkeypatch.setenv(LOCAL[vendor], address)
    assert Offline(AnyLLMOptions()).price(f"{vendor}:tiny", usage) == price


def test_the_vendors_are_those_of_any_llm() -> None:
    from any_llm import AnyLLM

    assert set(AnyLLM.get_supported_providers()) >= VENDORS
    assert {name: AnyLLM.get_provider_class(name).ENV_API_BASE_NAME for name in LOCAL} == LOCAL
