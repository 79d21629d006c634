"""What tokens cost: as the table says, and None where it does not say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from llmcore.types import Usage
from llmcore_openai_optimized.prices import price

USAGE = Usage(input_tokens=1000, output_tokens=500)


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("gpt-4o-mini", "0.00045"),
        ("gpt-4o-mini-2024-07-18", "0.00045"),
        ("gpt-4o", "0.0075"),
        ("gpt-6-sol", "0.007"),
        ("gpt-35-turbo", "0.00125"),
    ],
)
def test_a_model_costs_what_its_vendor_says(model: str, cost: str) -> None:
    assert price(model, USAGE) == Decimal(cost)


@pytest.mark.parametrize("model", ["gpt-6.2-sol", "my-deployment", "", "tts-1", "whisper-1"])
def test_an_unknown_price_is_none_and_never_0(model: str) -> None:
    assert price(model, USAGE) is None


def test_no_tokens_cost_nothing_where_the_price_is_known() -> None:
    assert price("gpt-4o", Usage()) == 0
    assert price("my-deployment", Usage()) is None


@pytest.mark.parametrize(
    ("served", "configured", "cost"),
    [
        (None, "standard", "0.0008"),
        ("auto", "standard", "0.0008"),
        ("default", "standard", "0.0008"),
        ("default", "flex", "0.0008"),  # a flex request that was served at the standard tier
        ("flex", "standard", "0.0004"),
        (None, "flex", "0.0004"),
        ("priority", "standard", "0.0016"),
        ("fast", "standard", "0.0016"),
        (None, "batch", "0.0004"),
        ("default", "batch", "0.0004"),
        ("priority", "batch", "0.0016"),
        ("scale", "standard", None),
        ("ultrafast", "standard", None),
        ("anything", "batch", None),
    ],
)
def test_the_tier_that_served_decides(served: str | None, configured: str, cost: str | None) -> None:
    expected = None if cost is None else Decimal(cost)
    assert price("gpt-5.6-luna", USAGE, served, configured) == expected


def test_a_tier_that_the_model_has_no_price_in_is_unknown() -> None:
    assert price("gpt-4o-mini", USAGE, "priority") is not None
    assert price("gpt-4o-mini", USAGE, "flex") is None  # the table itself would give the standard price


def test_cached_tokens_are_cheaper_and_long_prompts_dearer() -> None:
    assert price("gpt-4o-mini", Usage(input_tokens=1000, cached_tokens=1000)) == Decimal("0.000075")
    written = Usage(input_tokens=1000, cache_write_tokens=1000)
    assert price("gpt-5.6-luna", written) == Decimal("0.00025")
    short, long = Usage(input_tokens=272_000), Usage(input_tokens=272_001, output_tokens=1)
    assert price("gpt-5.6-luna", short) == Decimal("0.0544")
    assert price("gpt-5.6-luna", long) == (272_001 * Decimal("0.4") + Decimal("1.8")) / 1_000_000


def test_audio_without_a_price_of_its_own_is_unknown() -> None:
    audio = Usage(input_tokens=100, output_tokens=100, audio_input_tokens=50)
    assert price("gpt-4o", audio) is None
    assert (
        price("gpt-audio-mini", audio) == (50 * Decimal("0.6") + 50 * 10 + 100 * Decimal("2.4")) / 1_000_000
    )


@given(
    model=st.sampled_from(["gpt-4o", "gpt-4o-mini", "gpt-5.6-luna", "gpt-6-sol", "gpt-5"]),
    tier=st.sampled_from(["standard", "batch", "priority"]),
    plain=st.integers(0, 400_000),
    cached=st.integers(0, 100_000),
    output=st.integers(0, 100_000),
)
def test_the_quick_sum_is_the_tables_own(model: str, tier: str, plain: int, cached: int, output: int) -> None:
    usage = Usage(input_tokens=plain + cached, cached_tokens=cached, output_tokens=output)
    context: Any = {"batch": {"processing": "batch"}, "priority": {"service_tier": "priority"}}.get(tier)
    theirs = calc_price(
        TheirUsage(input_tokens=plain + cached, cache_read_tokens=cached, output_tokens=output),
        model,
        provider_id="openai",
        price_context=context,
    )
    assert price(model, usage, None, tier) == theirs.total_price
