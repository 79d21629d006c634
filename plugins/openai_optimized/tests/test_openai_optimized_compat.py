"""`OptimizedOpenAIProvider`: the points that code of this family relies on, over real HTTP."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import ConfigError, LLMCoreError, PluginNotFound, PriceUnknown
from llmcore_openai_optimized import OptimizedOpenAIProvider
from llmcore_testing.simulator import Fault, Simulator


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Simulator]:
    for name in ("CACHE", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    with Simulator() as simulator:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
        yield simulator


@pytest.fixture
def provider(upstream: Simulator) -> Iterator[OptimizedOpenAIProvider]:
    assert upstream.requests == []
    with OptimizedOpenAIProvider(
        model="gpt-4o-mini", enable_cache=True, cache_ttl=3600, cache_backend="file", pricing_tier="standard"
    ) as made:
        yield made


def test_it_knows_its_model(provider: OptimizedOpenAIProvider) -> None:
    assert provider.model_name == "gpt-4o-mini"
    assert "gpt-4o-mini" in repr(provider)


@pytest.mark.parametrize("key", [None, "", " "])
def test_a_key_is_required(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="OpenAI API key is required") as caught:
        OptimizedOpenAIProvider(key)
    assert isinstance(caught.value, ConfigError)
    assert (caught.value.code, caught.value.fix) == ("LC201", "export OPENAI_API_KEY=sk-...")
    assert "OPENAI_API_KEY" in str(caught.value)


def test_the_arguments_are_positional_in_the_order_of_existing_code(upstream: Simulator) -> None:
    with OptimizedOpenAIProvider("sk-own", "gpt-4o", False, 60, "memory", "batch") as made:  # noqa: FBT003
        assert (made.model, made.model_name, made.enable_cache) == ("gpt-4o", "gpt-4o", False)
        assert (made.pricing_tier, made.cache) == ("batch", None)
        made.generate_completion("Hello")
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-own"
    assert upstream.requests[0].body["model"] == "gpt-4o"
    parameters = inspect.signature(OptimizedOpenAIProvider).parameters
    assert {name: parameters[name].default for name in list(parameters)[:6]} == {
        "api_key": None, "model": "gpt-5.6-luna", "enable_cache": True, "cache_ttl": 3600, "cache_backend": "file",
        "pricing_tier": "standard",
    }  # fmt: skip


def test_key_and_address_are_read_when_it_is_made(
    upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OptimizedOpenAIProvider() as made:
        monkeypatch.delenv("OPENAI_API_KEY")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        assert made.generate_completion("Hello")
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-test"


def test_the_key_is_only_in_its_header(
    upstream: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-proj-abcdefghijklmnop1234567890"
    monkeypatch.setenv("LLMCORE__LEDGER__PATH", str(tmp_path / "ledger.sqlite3"))
    with OptimizedOpenAIProvider(key, "gpt-4o-mini") as made:
        made.generate_completion("Hello")
        assert key not in f"{made!r} {vars(made)!r} {made.get_usage_stats()!r}"
    assert key not in str(upstream.requests[0].body)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name.startswith("ledger") for path in files)
    assert not any(key.encode() in path.read_bytes() for path in files)


def test_a_key_as_model_is_refused_and_not_shown(upstream: Simulator) -> None:
    for key in ("sk-proj-abcdefghijklmnop1234567890", "sk-short"):
        with pytest.raises(ConfigError, match="looks like an API key") as caught:
            OptimizedOpenAIProvider(model=key)
        assert key not in f"{caught.value!r} {caught.value}"
    with OptimizedOpenAIProvider() as made:
        made.model = "sk-proj-abcdefghijklmnop1234567890"
        with pytest.raises(LLMCoreError, match="looks like an API key") as raised:
            made.generate_completion("Hello")
        assert made.model not in str(raised.value)
    assert upstream.requests == []


def test_a_model_as_key_is_refused_with_the_call_that_was_meant(upstream: Simulator) -> None:
    with pytest.raises(ConfigError, match="got the name of the model gpt-4o-mini") as caught:
        OptimizedOpenAIProvider("gpt-4o-mini")
    assert caught.value.fix == 'OptimizedOpenAIProvider(model="gpt-4o-mini")'
    wrong: Any = 7
    with pytest.raises(ConfigError, match="must be text, got int"):
        OptimizedOpenAIProvider(wrong)
    assert upstream.requests == []


def test_an_unknown_tier_is_a_value_error(provider: OptimizedOpenAIProvider) -> None:
    wrong: Any = "invalid"
    with pytest.raises(ValueError, match="Invalid pricing_tier"):
        OptimizedOpenAIProvider(pricing_tier=wrong)
    with pytest.raises(ValueError, match="Invalid pricing_tier"):
        provider.estimate_cost(1, 1, wrong)


def test_keywords_win_over_the_environment(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("LLMCORE__LLM__PROVIDER", "echo")
    monkeypatch.setenv("LLMCORE__LLM__MODEL", "other")
    with OptimizedOpenAIProvider(model="gpt-4o", api_key="sk-own", base_url=upstream.base_url) as face:
        assert face.generate_completion("Hello")
    request = upstream.requests[0]
    assert request.headers["authorization"] == "Bearer sk-own"
    assert request.body["model"] == "gpt-4o"


def test_tokens_of_texts_and_messages_are_counted(
    provider: OptimizedOpenAIProvider, upstream: Simulator
) -> None:
    assert provider.count_tokens("Hello world") == 2
    counted = provider.count_messages_tokens([{"role": "user", "content": "Hello world"}])
    assert (int(counted), counted.exact) == (9, True)
    assert upstream.requests == []


def test_costs_are_estimated_in_dollars(provider: OptimizedOpenAIProvider) -> None:
    cost = provider.estimate_cost(100, 50)
    assert isinstance(cost, float)
    assert cost == pytest.approx(100 * 0.15e-6 + 50 * 0.6e-6)
    assert provider.estimate_cost(100, 0, cached_tokens=100) == pytest.approx(100 * 0.075e-6)


def test_the_tier_of_an_estimate_is_its_third_argument(provider: OptimizedOpenAIProvider) -> None:
    standard = provider.estimate_cost(1000, 500)
    assert provider.estimate_cost(1000, 500, "standard") == standard
    assert provider.estimate_cost(1000, 500, "batch") == pytest.approx(standard / 2)
    assert provider.estimate_cost(1000, 500, pricing_tier=None) == standard
    provider.pricing_tier = "batch"
    assert provider.estimate_cost(1000, 500) == pytest.approx(standard / 2)


def test_a_job_of_several_requests_is_estimated(provider: OptimizedOpenAIProvider) -> None:
    assert provider.estimate_video_cost(1000, 500, 3, "batch") == {
        "cost_per_request": provider.estimate_cost(1000, 500, "batch"),
        "cost_per_video": 3 * provider.estimate_cost(1000, 500, "batch"),
        "total_tokens_per_video": 4500,
        "requests_per_video": 3,
        "pricing_tier": "batch",
        "model": "gpt-4o-mini",
    }


def test_tiers_are_compared(provider: OptimizedOpenAIProvider) -> None:
    assert provider.compare_pricing_tiers(1000, 500) == pytest.approx(
        {"standard_cost": 0.00045, "batch_cost": 0.000225, "savings": 0.000225, "savings_percent": 50.0}
    )


def test_long_prompts_and_other_tiers_are_estimated_as_they_are_billed(upstream: Simulator) -> None:
    assert upstream.requests == []
    for tier, usd in (("standard", 0.12), ("batch", 0.06), ("flex", 0.06), ("priority", 0.24)):
        with OptimizedOpenAIProvider(model="gpt-5.6-luna", pricing_tier=tier) as face:  # type: ignore[arg-type]
            assert face.estimate_cost(300_000, 0) == pytest.approx(usd)
    with OptimizedOpenAIProvider(model="gpt-5.6-luna") as face:
        compared = face.compare_pricing_tiers(300_000, 1_000, cached_tokens=300_000)
        assert compared["standard_cost"] == pytest.approx(300_000 * 0.04e-6 + 1_000 * 1.8e-6)
        assert compared["savings_percent"] == pytest.approx(50)


def test_the_configurations_own_price_is_everybodys(upstream: Simulator, tmp_path: Path) -> None:
    config = tmp_path / "config" / "llmcore" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[prices."openai:my-deployment"]\ninput = 2\noutput = 10\ncached_input = 0.5\n')
    with OptimizedOpenAIProvider(model="my-deployment", enable_cache=False) as face:
        assert face.estimate_cost(1_000_000, 0, cached_tokens=400_000) == pytest.approx(1.4)
        assert face.compare_pricing_tiers(10, 10)["savings_percent"] == 0
        face.generate_completion("Hello")
        stats = face.get_usage_stats()
        expected = face.estimate_cost(stats["total_input_tokens"], stats["total_output_tokens"])
        assert stats["total_cost"] == pytest.approx(expected)
    assert len(upstream.requests) == 1


def test_the_configured_tier_prices_estimates_and_calls(upstream: Simulator) -> None:
    upstream.replies({"content": "Rain"})
    with OptimizedOpenAIProvider(model="gpt-4o-mini", pricing_tier="batch", enable_cache=False) as face:
        assert face.estimate_cost(1000, 500) == pytest.approx(0.000225)
        face.generate_completion("Hello")
        stats = face.get_usage_stats()
        assert stats["pricing_tier"] == "batch"
        expected = face.estimate_cost(stats["total_input_tokens"], stats["total_output_tokens"])
        assert stats["total_cost"] == pytest.approx(expected)


def test_an_unknown_price_is_an_error_and_not_0() -> None:
    with (
        OptimizedOpenAIProvider(model="my-deployment", api_key="k") as face,
        pytest.raises(PriceUnknown, match="my-deployment"),
    ):
        face.estimate_cost(1, 1)


def test_a_completion_sends_its_parameters(provider: OptimizedOpenAIProvider, upstream: Simulator) -> None:
    upstream.replies("Rain falls")
    assert provider.generate_completion("Write a haiku", temperature=0.9, max_tokens=100) == "Rain falls"
    assert upstream.requests[0].body == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "Write a haiku"}],
        "temperature": 0.9,
        "max_tokens": 100,
    }


def test_temperature_and_length_are_positional(
    provider: OptimizedOpenAIProvider, upstream: Simulator
) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    provider.generate_completion("One", 0.2, 50)
    provider.generate_chat(messages, 0.3, 60, top_p=0.5)

    async def both() -> None:
        await provider.agenerate_completion("Two", 0.4, 70)
        await provider.agenerate_chat(messages, 0.5, 80)

    asyncio.run(both())
    sent = [(request.body["temperature"], request.body["max_tokens"]) for request in upstream.requests]
    assert sent == [(0.2, 50), (0.3, 60), (0.4, 70), (0.5, 80)]
    for name in ("generate_completion", "generate_chat", "agenerate_completion", "agenerate_chat"):
        parameters = inspect.signature(getattr(OptimizedOpenAIProvider, name)).parameters
        assert (parameters["temperature"].default, parameters["max_tokens"].default) == (0.7, None)


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gpt-4o-mini", 0.7), ("gpt-4.1", 0.7), ("my-deployment", 0.7), ("ft:gpt-4o:org::id", 0.7),
        ("gpt-5.6-luna", None), ("gpt-6-sol", None), ("gpt-5-mini", None), ("o3", None), ("o1-mini", None),
        ("o4-mini-2025-04-16", None), ("openai/gpt-5", None), ("ft:o4-mini:org::id", None),
    ],
)  # fmt: skip
def test_the_default_temperature_is_not_sent_to_models_that_refuse_it(
    upstream: Simulator, model: str, sent: float | None
) -> None:
    with OptimizedOpenAIProvider(model=model, enable_cache=False) as made:
        made.generate_completion("Hello", max_tokens=9)
        made.generate_chat([{"role": "user", "content": "Hello"}], temperature=0.4)
    first, second = upstream.requests
    assert first.body.get("temperature") == sent
    assert first.body["max_tokens" if sent else "max_completion_tokens"] == 9
    assert len(first.body) == 3 + bool(sent)
    assert second.body["temperature"] == 0.4, "one that the caller gives is the server's to refuse"


def test_an_unknown_parameter_is_refused_before_the_network(
    provider: OptimizedOpenAIProvider, upstream: Simulator
) -> None:
    with pytest.raises(LLMCoreError, match="temperature"):
        provider.generate_completion("Hello", temprature=0.5)
    assert upstream.requests == []


def test_a_chat_is_answered(provider: OptimizedOpenAIProvider, upstream: Simulator) -> None:
    upstream.replies("Hello yourself")
    messages = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hello"}]
    assert provider.generate_chat(messages) == "Hello yourself"
    assert upstream.requests[0].body["messages"] == messages


def test_both_have_async_twins(provider: OptimizedOpenAIProvider) -> None:
    async def both() -> tuple[str, str]:
        messages = [{"role": "user", "content": "Hello"}]
        return await provider.agenerate_completion("Hi"), await provider.agenerate_chat(messages)

    assert all(asyncio.run(both()))


def test_an_equal_question_is_answered_from_the_cache(
    provider: OptimizedOpenAIProvider, upstream: Simulator
) -> None:
    first = provider.generate_completion("Hello")
    assert provider.generate_completion("Hello") == first
    assert upstream.counts["requests"] == 1
    stats = provider.get_usage_stats()
    assert stats["request_count"] == 1
    assert (stats["cache_stats"]["hits"], stats["cache_stats"]["misses"]) == (1, 1)


def test_the_cache_outlives_the_provider(upstream: Simulator) -> None:
    for _ in range(2):
        with OptimizedOpenAIProvider(model="gpt-4o-mini") as face:
            face.generate_completion("Hello")
    assert upstream.counts["requests"] == 1


def test_the_cache_can_be_left_out_or_lie_elsewhere(upstream: Simulator, tmp_path: Path) -> None:
    with OptimizedOpenAIProvider(model="gpt-4o-mini", enable_cache=False) as face:
        face.generate_completion("Hello")
        face.generate_completion("Hello")
    assert upstream.counts["requests"] == 2
    with OptimizedOpenAIProvider(
        model="gpt-4o-mini", cache_dir=str(tmp_path / "own"), cache_ttl=None
    ) as face:
        face.generate_completion("Hello")
    assert any((tmp_path / "own").iterdir())
    with OptimizedOpenAIProvider(model="gpt-4o-mini", cache_backend="memory", cache_ttl="1h") as face:
        face.generate_completion("Hello")
        face.generate_completion("Hello")
    assert upstream.counts["requests"] == 4


def test_a_missing_cache_plugin_is_named(upstream: Simulator) -> None:
    assert upstream.requests == []
    with pytest.raises(PluginNotFound):
        OptimizedOpenAIProvider(model="gpt-4o-mini", cache_backend="nowhere")


def test_usage_is_added_up_and_reset(provider: OptimizedOpenAIProvider) -> None:
    for text in ("one", "two"):
        provider.generate_completion(text)
    stats = provider.get_usage_stats()
    assert set(stats) == {
        "total_input_tokens", "total_output_tokens", "total_tokens", "total_cost", "request_count",
        "average_tokens_per_request", "model", "pricing_tier", "cache_stats",
    }  # fmt: skip
    assert stats["total_tokens"] == stats["total_input_tokens"] + stats["total_output_tokens"] > 0
    assert stats["average_tokens_per_request"] == stats["total_tokens"] / 2
    assert isinstance(stats["total_cost"], float)
    assert stats["total_cost"] > 0
    provider.reset_stats()
    empty: dict[str, Any] = provider.get_usage_stats()
    assert (empty["request_count"], empty["total_cost"], empty["average_tokens_per_request"]) == (0, 0.0, 0.0)
    assert empty["cache_stats"]["total_requests"] == 0


def test_the_totals_are_attributes_too(provider: OptimizedOpenAIProvider) -> None:
    def totals() -> tuple[float, ...]:
        return (
            provider.total_input_tokens, provider.total_output_tokens, provider.total_cost, provider.request_count,
        )  # fmt: skip

    assert totals() == (0, 0, 0.0, 0)
    provider.generate_completion("one")
    stats = provider.get_usage_stats()
    names = ("total_input_tokens", "total_output_tokens", "total_cost", "request_count")
    assert totals() == tuple(stats[name] for name in names)
    assert all(totals())
    provider.reset_stats()
    assert totals() == (0, 0, 0.0, 0)


def test_the_cache_is_an_attribute_that_may_be_turned_off(
    provider: OptimizedOpenAIProvider, upstream: Simulator
) -> None:
    assert (provider.model, provider.enable_cache, provider.pricing_tier) == ("gpt-4o-mini", True, "standard")
    provider.generate_completion("Hello")
    provider.generate_completion("Hello")
    assert provider.cache is not None
    assert provider.cache.get_stats()["hits"] == 1
    provider.enable_cache = False
    provider.generate_completion("Hello")
    assert provider.cache is None
    assert upstream.counts["requests"] == 2


def test_another_model_may_be_set(provider: OptimizedOpenAIProvider, upstream: Simulator) -> None:
    provider.model = "gpt-4.1"
    provider.generate_completion("Hello")
    assert (upstream.requests[0].body["model"], provider.model_name) == ("gpt-4.1", "gpt-4.1")


def test_a_rate_limit_is_waited_out(provider: OptimizedOpenAIProvider, upstream: Simulator) -> None:
    upstream.fail(Fault.status(429, retry_after=0.01))
    assert provider.generate_completion("Hello")
    assert upstream.counts["status_429"] == 1
    assert upstream.counts["status_200"] == 1
