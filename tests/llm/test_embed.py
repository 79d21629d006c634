"""Embeddings over real HTTP: divided, cached text by text, counted, priced, limited and shared, in sync and async."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmcore
from llmcore import Embeddings
from llmcore.errors import (
    BadRequest,
    BudgetExceeded,
    LLMCoreError,
    MalformedReply,
    PluginError,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.llm.embedding.vector_entry import pack, unpack
from llmcore_testing.simulator import Fault, Simulator

pytestmark = pytest.mark.slow

MODEL = "text-embedding-3-small"
Embed = Callable[..., Embeddings]


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def config(upstream: Simulator, tmp_path: Path) -> dict[str, Any]:
    return {
        "llm": {
            "provider": "openai",
            "model": MODEL,
            "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
        },
        "cache": {"provider": "memory"},
        "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        "retry": {"attempts": 2},
    }


@pytest.fixture
def core(config: dict[str, Any]) -> Iterator[llmcore.Core]:
    with llmcore.load(config) as core:
        yield core


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def embed(way: str, core: llmcore.Core) -> Embed:
    return make_embed(way, core)


def make_embed(way: str, core: llmcore.Core) -> Embed:
    if way == "sync":
        return core.llm.embed
    return lambda *args, **options: asyncio.run(core.llm.aembed(*args, **options))


def list_sent_texts(upstream: Simulator) -> list[list[str]]:
    return [request.body["input"] for request in upstream.requests]


def test_each_text_gets_a_vector_with_its_usage_and_cost(embed: Embed, upstream: Simulator) -> None:
    result = embed(["It rains", "Mars is red", "It rains"])
    assert [len(vector) for vector in result.vectors] == [1536] * 3
    assert result.vectors[0] == result.vectors[2] != result.vectors[1]
    assert math.isclose(sum(number**2 for number in result.vectors[0]), 1.0, rel_tol=1e-3)
    assert (result.model, result.provider) == (MODEL, "openai")
    assert list(result.cached) == [False, False, True]
    assert result.usage.input_tokens > 0
    assert result.cost == Decimal("0.02") * result.usage.input_tokens / 1_000_000
    assert result.cost_source == "provider"
    assert list_sent_texts(upstream) == [["It rains", "Mars is red"]], "a repeated text is sent once"


def test_one_text_may_be_given_without_a_list(embed: Embed, upstream: Simulator) -> None:
    assert len(embed("It rains").vectors) == 1
    assert list_sent_texts(upstream) == [["It rains"]]


def test_only_new_texts_are_requested(embed: Embed, upstream: Simulator) -> None:
    first = embed(["a", "b"])
    second = embed(["b", "c", "a"])
    assert list(second.cached) == [True, False, True]
    assert second.vectors[0] == first.vectors[1]
    assert second.vectors[2] == first.vectors[0]
    assert list_sent_texts(upstream) == [["a", "b"], ["c"]]
    third = embed(["c", "b", "a"])
    assert all(third.cached)
    assert (third.cost, third.usage.total_tokens) == (Decimal(0), 0)
    assert third.saved is not None
    assert third.saved > 0


def test_dimensions_are_sent_and_part_of_the_key(embed: Embed, upstream: Simulator) -> None:
    assert len(embed(["a"], dimensions=64).vectors[0]) == 64
    assert list(embed(["a"], dimensions=32).cached) == [False]
    assert list(embed(["a"]).cached) == [False]
    assert list(embed(["a"], dimensions=64).cached) == [True]
    assert [request.body.get("dimensions") for request in upstream.requests] == [64, 32, None]


def test_refresh_requests_again_and_false_does_not_cache(embed: Embed, upstream: Simulator) -> None:
    embed(["a"], cache=False)
    embed(["a"])
    assert list(embed(["a"], cache="refresh").cached) == [False]
    assert list(embed(["a"]).cached) == [True]
    assert len(upstream.requests) == 3


@pytest.mark.slow
def test_texts_are_divided_by_the_limits_of_the_vendor(embed: Embed, upstream: Simulator) -> None:
    texts = [f"text {number}" for number in range(4100)]
    result = embed(texts, dimensions=2)
    assert sorted(map(len, list_sent_texts(upstream))) == [4, 2048, 2048]
    assert len(result.vectors) == 4100
    upstream.reset()
    assert all(embed(texts, dimensions=2).cached)
    assert upstream.requests == []


@pytest.mark.slow
def test_texts_are_divided_by_their_tokens(embed: Embed, upstream: Simulator) -> None:
    texts = [f"{number} " + "word " * 7_000 for number in range(50)]
    embed(texts, dimensions=2)
    sizes = sorted(map(len, list_sent_texts(upstream)))
    assert sum(sizes) == 50
    assert len(sizes) == 2, "300,000 tokens fit into one request"


def test_a_text_beyond_the_models_limit_is_named(embed: Embed, upstream: Simulator) -> None:
    with pytest.raises(BadRequest, match=r"texts\[1\] must have at most 8,192 tokens"):
        embed(["short", "word " * 9_000])
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("texts", "where"),
    [
        ([], "texts"),
        ("", "texts"),
        (["a", ""], "texts[1]"),
        (["  \n"], "texts[0]"),
        (["a", 7], "texts[1]"),
        (["a\ud800"], "texts[0]"),
        (b"bytes", "texts"),
        ({"a": 1}, "texts"),
        (7, "texts"),
    ],
    ids=["none", "empty", "one empty", "blank", "number", "surrogate", "bytes", "dict", "int"],
)
def test_invalid_texts_are_refused_before_anything_is_sent(
    embed: Embed, upstream: Simulator, texts: Any, where: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        embed(texts)
    assert (caught.value.where, caught.value.code) == (where, "LC303")
    assert upstream.requests == []


@pytest.mark.parametrize(
    "options",
    [{"dimensions": 0}, {"dimensions": True}, {"dimensions": "8"}, {"dimension": 8}, {"cache": "refrsh"}, {"extra_body": {"model": "x"}}],
    ids=str,
)  # fmt: skip
def test_invalid_arguments_are_refused(embed: Embed, upstream: Simulator, options: dict[str, Any]) -> None:
    with pytest.raises(LLMCoreError) as caught:
        embed(["a"], **options)
    assert isinstance(caught.value, BadRequest)
    assert upstream.requests == []


def test_extra_body_is_sent(embed: Embed, upstream: Simulator) -> None:
    embed(["a"], extra_body={"input_type": "query"})
    assert upstream.requests[-1].body["input_type"] == "query"
    embed(["a"])
    assert len(upstream.requests) == 2, "it is part of the key"


def test_concurrent_equal_calls_are_one_request(core: llmcore.Core, upstream: Simulator) -> None:
    upstream.fail(Fault.slow(0.3))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: core.llm.embed(["a", "b"]), range(8)))
    assert len(upstream.requests) == 1
    assert {tuple(result.vectors[1]) for result in results} == {tuple(results[0].vectors[1])}
    assert sum(result.cost or 0 for result in results) == max(result.cost or 0 for result in results)


def test_concurrent_equal_tasks_are_one_request(core: llmcore.Core, upstream: Simulator) -> None:
    async def run() -> list[Embeddings]:
        return await asyncio.gather(*(core.llm.aembed(["a", "b"]) for _ in range(8)))

    upstream.fail(Fault.slow(0.3))
    assert len(asyncio.run(run())) == 8
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (Fault.status(400), BadRequest, 1),
        (Fault.status(429), RateLimited, 2),
        (Fault.status(503), Unavailable, 2),
        (Fault.bad_json(), MalformedReply, 1),
        (Fault.empty_body(), MalformedReply, 1),
        (Fault.reset(), Unavailable, 2),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_failure_has_its_class_and_is_retried_by_it(
    embed: Embed, upstream: Simulator, fault: Fault, kind: type[LLMCoreError], requests: int
) -> None:
    upstream.fail(fault, times=None)
    with pytest.raises(kind) as caught:
        embed(["a"])
    assert type(caught.value) is kind
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert len(upstream.requests) >= requests
    upstream.reset()
    assert list(embed(["a"]).cached) == [False], "a failure is not cached"


def test_a_temporary_failure_is_retried(embed: Embed, upstream: Simulator) -> None:
    upstream.fail(Fault.status(503))
    assert len(embed(["a", "b"]).vectors) == 2
    assert len(upstream.requests) == 2


def test_the_deadline_ends_a_call(embed: Embed, upstream: Simulator) -> None:
    upstream.fail(Fault.hang(), times=None)
    with pytest.raises(Timeout):
        embed(["a"], timeout=0.5)


def test_requests_are_in_the_ledger_and_hits_too(embed: Embed, core: llmcore.Core) -> None:
    result = embed(["a", "b"], user="ann", tags="nightly")
    embed(["b", "a"], user="ann")
    totals = core.usage.totals()
    assert (totals.calls, totals.cached, totals.input_tokens) == (1, 1, result.usage.input_tokens)
    assert totals.cost == result.cost
    rows = {row.name: row for row in core.usage.by("user")}
    assert (rows["ann"].requests, rows["ann"].cost) == (1, result.cost)


def test_a_budget_refuses_before_the_first_request(
    way: str, config: dict[str, Any], upstream: Simulator
) -> None:
    config["budget"] = {"limit": "0.00001 USD", "per": "day"}
    texts = [f"text {number}" for number in range(3000)]
    with llmcore.load(config) as core:
        with pytest.raises(BudgetExceeded):
            make_embed(way, core)(texts, dimensions=2)
        assert upstream.requests == []
        make_embed(way, core)(texts[:3], dimensions=2)


def test_configured_prices_win(way: str, config: dict[str, Any]) -> None:
    config["prices"] = {f"openai:{MODEL}": {"input": 1, "output": 0}}
    with llmcore.load(config) as core:
        result = make_embed(way, core)(["a", "b"])
    assert result.cost == Decimal(result.usage.input_tokens) / 1_000_000
    assert result.cost_source == "config"


def test_a_name_of_models_is_used_without_a_model(
    way: str, config: dict[str, Any], upstream: Simulator
) -> None:
    config["llm"]["model"] = "gpt-5.6-luna"
    config["models"] = {"embedding": f"openai:{MODEL}", "large": "openai:text-embedding-3-large"}
    with llmcore.load(config) as core:
        assert make_embed(way, core)(["a"]).model == MODEL
        assert len(make_embed(way, core)(["a"], "large").vectors[0]) == 3072
    assert [request.body["model"] for request in upstream.requests] == [MODEL, "text-embedding-3-large"]


def test_the_next_model_of_an_alias_is_tried(way: str, config: dict[str, Any], upstream: Simulator) -> None:
    config["models"] = {"safe": [f"openai:{MODEL}", "echo:echo"]}
    upstream.fail(Fault.status(503), times=None)
    with llmcore.load(config) as core:
        result = make_embed(way, core)(["a"], "safe")
    assert (result.provider, result.model) == ("echo", "echo")


@pytest.mark.slow
def test_observers_receive_one_event_for_a_call(way: str, config: dict[str, Any], scripted: Any) -> None:
    config["observers"] = {"use": ["listener"]}
    with llmcore.load(config) as core:
        make_embed(way, core)([f"text {number}" for number in range(2049)], dimensions=2)
        make_embed(way, core)(["text 1"], dimensions=2)
    assert [(event.kind, event.attempts, event.cached) for event in scripted.events] == [
        ("embedding", 2, False),
        ("embedding", 0, True),
    ]


def test_a_provider_without_embeddings_says_so(scripted: Any) -> None:
    assert scripted
    with llmcore.load({}) as core, pytest.raises(PluginError, match="cannot embed"):
        core.llm.embed(["a"], "scripted:m")


def test_echo_embeds_deterministically_and_by_common_words() -> None:
    with llmcore.load({}) as core:
        rain, more, mars = core.llm.embed(["It rains in Oslo", "It rains in Bergen", "Mars is red"]).vectors
        assert core.llm.embed("It rains in Oslo", cache=False).vectors[0] == rain
        assert core.llm.embed("x", dimensions=8).vectors[0] == core.llm.embed("x", dimensions=8).vectors[0]

    def dot(one: list[float], other: list[float]) -> float:
        return sum(left * right for left, right in zip(one, other, strict=True))

    assert dot(rain, more) > 0.5 > abs(dot(rain, mars))
    assert math.isclose(dot(rain, rain), 1.0)


@pytest.mark.slow
@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
        min_size=1,
        max_size=4,
    ),
    st.text(st.characters(codec="ascii"), min_size=1, max_size=8),
)
@settings(max_examples=200)
def test_an_entry_returns_the_same_numbers_and_only_under_its_key(
    vectors: list[list[float]], key: str
) -> None:
    data = pack(key, vectors, "m", Decimal("0.1"))
    found = unpack(key, data)
    assert found is not None
    assert (found.vectors, found.model, found.cost) == (vectors, "m", Decimal("0.1"))
    assert unpack(key + "x", data) is None
    assert unpack(key, data[:-1]) is None


def test_an_entry_of_four_byte_numbers_is_half_as_large() -> None:
    exact = pack("k", [[0.5] * 100], "m", None)
    assert len(pack("k", [[0.1] * 100], "m", None)) > len(exact) + 350
