"""The usage of an answer: every field that the server reports; missing or impossible numbers are counted here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.types import ChatRequest, Secret, Usage
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_openai_optimized.usage import make_usage
from llmcore_testing.simulator import Fault, Simulator

FRANCE: Any = [{"role": "user", "content": "What is the capital of France?"}]
"""14 tokens on OpenAI's servers with a model of the family gpt-4o."""
PARIS = {"content": "The capital of France is Paris."}  # 7 tokens
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def provider(upstream: Simulator) -> Iterator[OpenAIProvider]:
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
    yield made
    made.close()


@pytest.fixture(params=["complete", "acomplete", "stream", "astream"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask_for_usage(provider: OpenAIProvider, way: str, model: str = "gpt-4o-mini", **parameters: Any) -> Usage:
    """Ask in one of four ways; return the usage."""
    request = ChatRequest(model=model, messages=FRANCE, parameters=parameters, timeout_s=30, idle_s=30)

    async def read_stream() -> list[Usage | None]:
        return [delta.usage async for delta in provider.astream(request)]

    match way:
        case "complete":
            return provider.complete(request).usage
        case "acomplete":
            return asyncio.run(provider.acomplete(request)).usage
        case "stream":
            usages = [delta.usage for delta in provider.stream(request)]
        case _:
            usages = asyncio.run(read_stream())
    (usage,) = [each for each in usages if each is not None]
    return usage


def make_answer(usage: Any, *messages: dict[str, Any], model: str = "gpt-4o-mini") -> dict[str, Any]:
    choices = [
        {"index": at, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        for at, message in enumerate(messages or (PARIS,))
    ]
    return {"choices": choices, "model": model, "usage": usage}


def test_every_usage_field_is_read(upstream: Simulator, provider: OpenAIProvider, way: str) -> None:
    upstream.replies(
        make_answer(
            {
                "prompt_tokens": 1000,
                "completion_tokens": 500,
                "total_tokens": 1500,
                "prompt_tokens_details": {
                    "cached_tokens": 400,
                    "cache_write_tokens": 200,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 150, "ttl_12h_tokens": 50},
                    "audio_tokens": 30,
                    "image_tokens": 20,
                },
                "completion_tokens_details": {
                    "reasoning_tokens": 300,
                    "audio_tokens": 10,
                    "image_tokens": 5,
                    "rejected_prediction_tokens": 7,
                },
            }
        )
    )
    assert ask_for_usage(provider, way) == Usage(
        input_tokens=1000,
        output_tokens=500,
        cached_tokens=400,
        cache_write_tokens=200,
        cache_write_12h_tokens=50,
        reasoning_tokens=300,
        audio_input_tokens=30,
        audio_output_tokens=10,
        image_input_tokens=20,
        image_output_tokens=5,
    )


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        (None, (14, 7)),
        ({"prompt_tokens": -1000, "completion_tokens": -1000}, (14, 7)),
        ({"prompt_tokens": float("nan")}, (14, 50)),
        ({"prompt_tokens": float("inf"), "completion_tokens": 1e18}, (14, 7)),
        ({"completion_tokens": "many"}, (100, 7)),
        ({"completion_tokens": True}, (100, 7)),
        ({"completion_tokens": None}, (100, 7)),
        ({"prompt_tokens": 128_001}, (14, 50)),  # one more than the model can read
        ({"completion_tokens": 128_001}, (100, 7)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (14, 7)),  # how some servers say nothing
    ],
    ids=str,
)
def test_missing_or_impossible_usage_is_counted_and_marked(
    upstream: Simulator,
    provider: OpenAIProvider,
    way: str,
    fields: dict[str, Any] | None,
    counted: tuple[int, int],
) -> None:
    upstream.replies(make_answer(None))
    reported = {"prompt_tokens": 100, "completion_tokens": 50} | (fields or {})
    upstream.fail(Fault.missing_usage() if fields is None else Fault.usage(**reported))
    usage = ask_for_usage(provider, way)
    assert (usage.input_tokens, usage.output_tokens) == counted
    assert usage.estimated


def test_local_counts_hold_calls_and_every_choice(
    upstream: Simulator, provider: OpenAIProvider, way: str
) -> None:
    upstream.replies(make_answer(None, {"content": None, "tool_calls": [CALL]}))
    call = ask_for_usage(provider, way).output_tokens
    assert call == 13  # name and arguments have 6 tokens, and 7 stand around them
    upstream.replies(make_answer(None, PARIS, {"content": None, "tool_calls": [CALL]}))
    assert ask_for_usage(provider, way, n=2).output_tokens == 7 + call


def test_an_empty_answer_may_have_no_tokens(upstream: Simulator, provider: OpenAIProvider, way: str) -> None:
    upstream.replies(make_answer({"prompt_tokens": 14, "completion_tokens": 0}, {"content": ""}))
    assert ask_for_usage(provider, way) == Usage(input_tokens=14)


def test_the_context_window_of_a_deployment_is_unknown(upstream: Simulator, provider: OpenAIProvider) -> None:
    usage = {"prompt_tokens": 500_000, "completion_tokens": 1}
    upstream.replies(make_answer(usage, model="gpt-4.1-2025-04-14"))
    assert not ask_for_usage(provider, "complete", "gpt-4").estimated
    upstream.replies(make_answer(usage, model="gpt-4-0613"))
    assert ask_for_usage(provider, "complete", "gpt-4").estimated


def test_reasoning_that_a_server_counts_apart_is_output_too(
    upstream: Simulator, provider: OpenAIProvider, way: str
) -> None:
    apart = {
        "prompt_tokens": 14,
        "completion_tokens": 7,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    upstream.replies(make_answer({**apart, "total_tokens": 121}))
    assert ask_for_usage(provider, way) == Usage(input_tokens=14, output_tokens=107, reasoning_tokens=100)
    upstream.replies(make_answer({**apart, "total_tokens": 21}))
    assert ask_for_usage(provider, way) == Usage(input_tokens=14, output_tokens=7, reasoning_tokens=7)


@pytest.mark.parametrize("name", ["prompt_cache_hit_tokens", "cached_tokens"])
def test_other_servers_names_for_cached_tokens_are_known(
    upstream: Simulator, provider: OpenAIProvider, name: str
) -> None:
    upstream.replies(make_answer({"prompt_tokens": 14, "completion_tokens": 7, name: 5}))
    assert ask_for_usage(provider, "complete").cached_tokens == 5


def test_a_discount_that_cannot_be_true_is_not_given(upstream: Simulator, provider: OpenAIProvider) -> None:
    details = {"cached_tokens": 900, "cache_write_tokens": 70}
    upstream.replies(
        make_answer({"prompt_tokens": 14, "completion_tokens": 7, "prompt_tokens_details": details})
    )
    assert ask_for_usage(provider, "complete") == Usage(
        input_tokens=14, output_tokens=7, cache_write_tokens=14
    )


_NUMBERS = st.one_of(
    st.integers(-(10**19), 10**19), st.floats(), st.none(), st.text(max_size=3), st.booleans()
)
_DETAILS = st.one_of(
    st.none(),
    st.lists(st.integers()),
    st.dictionaries(
        st.sampled_from(
            ["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens"]
        ),
        _NUMBERS,
    ),
)


@given(
    reported=st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": _NUMBERS,
            "completion_tokens": _NUMBERS,
            "total_tokens": _NUMBERS,
            "cached_tokens": _NUMBERS,
            "prompt_tokens_details": _DETAILS,
            "completion_tokens_details": _DETAILS,
        },
    ),
    window=st.sampled_from(["gpt-4o", "unheard-of"]),
)
def test_reported_numbers_are_limited_to_0_and_their_total(reported: dict[str, Any], window: str) -> None:
    request = ChatRequest(model=window, messages=FRANCE)
    usage = make_usage(reported, request, window, lambda: [PARIS], has_content=True)
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert 0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert 0 <= usage.cache_write_12h_tokens <= usage.cache_write_tokens
    for part in (usage.reasoning_tokens, usage.audio_output_tokens, usage.image_output_tokens):
        assert 0 <= part <= usage.output_tokens
    for part in (usage.audio_input_tokens, usage.image_input_tokens):
        assert 0 <= part <= usage.input_tokens
