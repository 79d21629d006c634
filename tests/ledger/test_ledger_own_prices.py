"""Configured prices: every token is priced exactly once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.config import Price
from llmcore.ledger.prices import compute_cost, compute_speech_cost
from llmcore.types import Usage

MILLION = 1_000_000


def make_price(**more: Any) -> Price:
    prices = {"input": 2, "output": 10} | more
    return Price(**{name: Decimal(str(value)) for name, value in prices.items()})


@pytest.mark.parametrize(
    ("prices", "used", "usd"),
    [
        ({}, {"input_tokens": 10, "output_tokens": 5}, 70),
        ({}, {"input_tokens": 10, "cached_tokens": 4, "cache_write_tokens": 6}, 20),
        ({"cached_input": 0.5}, {"input_tokens": 10, "cached_tokens": 4}, 14),
        ({"cached_input": 0}, {"input_tokens": 10, "cached_tokens": 4}, 12),
        ({"cache_write": 3}, {"input_tokens": 10, "cache_write_tokens": 4}, 24),
        ({"cache_write": 3}, {"input_tokens": 10, "cache_write_tokens": 4, "cache_write_12h_tokens": 4}, 24),
        (
            {"cache_write": 3, "cache_write_12h": 5},
            {"input_tokens": 10, "cache_write_tokens": 4, "cache_write_12h_tokens": 1},
            26,
        ),
        (
            {},
            {"input_tokens": 10, "audio_input_tokens": 10, "output_tokens": 5, "audio_output_tokens": 5},
            70,
        ),
        (
            {"audio_input": 32, "audio_output": 64},
            {"input_tokens": 10, "audio_input_tokens": 4, "output_tokens": 5, "audio_output_tokens": 3},
            12 + 128 + 20 + 192,
        ),
        # Cached audio is reported twice, but paid for once.
        (
            {"audio_input": 32, "cached_input": 0},
            {"input_tokens": 10, "audio_input_tokens": 8, "cached_tokens": 10},
            256,
        ),
    ],
)
def test_every_kind_of_token_has_its_price(prices: dict[str, Any], used: dict[str, int], usd: int) -> None:
    counts: dict[str, Any] = {name: number * MILLION for name, number in used.items()}
    usage = Usage(**counts)
    assert compute_cost(make_price(**prices), usage) == usd


@given(
    total=st.integers(0, 10**6),
    parts=st.tuples(*[st.integers(0, 2 * 10**6)] * 4),
    output=st.integers(0, 10**6),
)
def test_no_usage_costs_less_than_its_tokens_at_the_lowest_price(
    total: int, parts: tuple[int, ...], output: int
) -> None:
    price = make_price(cached_input=1, cache_write=3, cache_write_12h=5, audio_input=32)
    usage = Usage(
        input_tokens=total,
        cached_tokens=parts[0],
        cache_write_tokens=parts[1],
        cache_write_12h_tokens=parts[2],
        audio_input_tokens=parts[3],
        output_tokens=output,
    )
    assert total + 10 * output <= compute_cost(price, usage) * MILLION <= 32 * total + 10 * output


def test_characters_are_priced_if_the_configuration_has_a_price() -> None:
    assert compute_speech_cost(make_price(characters=15), 2_000) == Decimal("0.03")
    assert compute_speech_cost(make_price(), 2_000) is None
