"""The maximum usage of a request: never below the real usage, never above the limits of the model."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.types import ChatRequest, Usage
from llmcore_openai_optimized import prices, tokens
from llmcore_openai_optimized.context_windows import find_window
from llmcore_openai_optimized.offline import Offline

FILE = [{"type": "file", "file": {"file_id": "file-1"}}]
SOUND = [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]


def make_request(content: Any = "Hello", model: str = "gpt-5.6-luna", **parameters: Any) -> ChatRequest:
    return ChatRequest(model=model, messages=[{"role": "user", "content": content}], parameters=parameters)


def compute_maximum(request: ChatRequest, *, exact: bool = False) -> Usage:
    usage = Offline().most_usage(request, exact=exact)
    assert usage is not None
    return usage


@pytest.mark.parametrize(
    ("parameters", "output"),
    [
        ({}, 128_000),
        ({"max_completion_tokens": 50}, 50),
        ({"max_tokens": 50}, 50),
        ({"max_tokens": 50, "max_completion_tokens": 70}, 70),
        ({"max_completion_tokens": 50, "n": 4}, 200),
        ({"n": 2}, 256_000),
        ({"max_completion_tokens": None}, 128_000),
        ({"max_completion_tokens": 10**9}, 1_050_000),
        ({"max_completion_tokens": -1, "n": -1}, 128_000),
        ({"max_completion_tokens": True, "n": "many"}, 128_000),
    ],
)
def test_the_answer_is_bounded_by_the_request_or_else_by_the_model(
    parameters: dict[str, Any], output: int
) -> None:
    assert compute_maximum(make_request(**parameters)).output_tokens == output


def test_an_unknown_model_is_bounded_only_by_the_request() -> None:
    assert Offline().most_usage(make_request(model="my-deployment")) is None
    assert Offline().most_usage(make_request(FILE, "my-deployment", max_tokens=5)) is None
    assert compute_maximum(make_request(model="my-deployment", max_tokens=5)).output_tokens == 5


@pytest.mark.parametrize(
    "model", ["gpt-4", "gpt-4o", "gpt-5", "ft:gpt-4o-2024-08-06:acme::1", "gpt-5-6-luna"]
)
def test_no_prompt_is_beyond_the_models_window(model: str) -> None:
    window = find_window(model)
    assert window is not None
    assert compute_maximum(make_request("word " * 1_000_000, model)).input_tokens == window.context
    assert compute_maximum(make_request(FILE, model)).input_tokens == window.context
    assert compute_maximum(make_request(web_search_options={}, model=model)).input_tokens == window.context


@settings(deadline=None)  # the first example loads the tables
@given(
    text=st.text(), exact=st.booleans(), model=st.sampled_from(["gpt-4", "gpt-4o", "gpt-6-sol", "unheard-of"])
)
def test_the_bound_of_a_prompt_is_never_below_its_count(text: str, exact: bool, model: str) -> None:  # noqa: FBT001
    request = make_request(text, model, max_tokens=1)
    assert compute_maximum(request, exact=exact).input_tokens >= tokens.count(request)


def test_near_the_limit_the_exact_count_of_the_prompt_is_used() -> None:
    question = make_request("What is the capital of France?", "gpt-4o-mini")
    assert compute_maximum(question, exact=True).input_tokens == 14  # as OpenAI counted it
    guessed = make_request("What is the capital of France?", "my-deployment", max_tokens=1)
    assert compute_maximum(guessed, exact=True) == compute_maximum(guessed)


def test_stored_audio_is_bounded_by_the_context_window() -> None:
    spoken: Any = [{"role": "assistant", "audio": {"id": "audio_1"}}, {"role": "user", "content": "And?"}]
    usage = compute_maximum(ChatRequest(model="gpt-audio", messages=spoken))
    assert usage.audio_input_tokens == usage.input_tokens == 128_000


def test_possible_12_hour_cache_writes_are_reserved_at_their_price() -> None:
    usage = compute_maximum(make_request(prompt_cache_options={"ttl": "12h"}))
    assert usage.cache_write_12h_tokens == usage.cache_write_tokens == usage.input_tokens
    assert compute_maximum(make_request()).cache_write_12h_tokens == 0


def test_every_token_is_bounded_at_its_highest_price() -> None:
    written, plain, heard = (
        compute_maximum(make_request()),
        compute_maximum(make_request(model="gpt-5.5")),
        compute_maximum(make_request(SOUND, "gpt-audio", modalities=["text", "audio"])),
    )
    assert written.cache_write_tokens == written.input_tokens
    assert (plain.cache_write_tokens, plain.audio_input_tokens, plain.audio_output_tokens) == (0, 0, 0)
    assert 0 < heard.audio_input_tokens == heard.input_tokens
    assert heard.audio_output_tokens == heard.output_tokens
    assert heard.cache_write_tokens == 0


@settings(deadline=None)  # the first example loads the tables
@given(
    model=st.sampled_from(["gpt-4o", "gpt-5.5", "gpt-5.6-luna", "gpt-6-astra"]),
    tier=st.sampled_from([None, "default", "priority"]),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    length=st.integers(0, 300_000),
)
def test_no_answer_within_the_bounds_costs_more(
    model: str, tier: str | None, shares: tuple[float, ...], length: int
) -> None:
    bound = compute_maximum(make_request("é" * length, model, max_completion_tokens=10_000))
    used = int(bound.input_tokens * shares[0])
    cached = int(used * shares[1])
    usage = Usage(
        input_tokens=used,
        output_tokens=int(bound.output_tokens * shares[2]),
        cached_tokens=cached,
        cache_write_tokens=int((used - cached) * shares[3]),
    )
    cost, dearest = prices.price(model, usage, tier), prices.price(model, bound, tier)
    assert cost is not None
    assert dearest is not None
    assert cost <= dearest


def test_without_exact_no_tokenizer_is_loaded() -> None:
    code = (
        "import sys\n"
        "from llmcore.types import ChatRequest\n"
        "from llmcore_openai_optimized.offline import Offline\n"
        "request = ChatRequest(model='gpt-5.6-luna', messages=[{'role': 'user', 'content': 'Hello'}])\n"
        "assert Offline().most_usage(request).input_tokens\n"
        "print(sorted({'tiktoken', 'openai', 'httpx2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
