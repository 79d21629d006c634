"""The cost of tokens, by the price table; None if the price is unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from llmcore.types import Usage
from llmcore_openai_optimized.prices import price, speech_price

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
def test_a_model_has_the_price_of_its_vendor(model: str, cost: str) -> None:
    assert price(model, USAGE) == Decimal(cost)


@pytest.mark.parametrize("model", ["gpt-6.2-sol", "my-deployment", "", "tts-1", "whisper-1"])
def test_an_unknown_price_is_none_and_never_0(model: str) -> None:
    assert price(model, USAGE) is None


def test_zero_tokens_cost_0_if_the_price_is_known() -> None:
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


@pytest.mark.parametrize(
    ("model", "at", "cost"),
    [
        ("gpt-5.6-luna", datetime(2026, 7, 29, 23, 59, tzinfo=UTC), "0.004"),
        ("gpt-5.6-luna", datetime(2026, 7, 30, tzinfo=UTC), "0.0008"),
        (
            "gpt-5.6-luna",
            datetime(2026, 7, 30, 1, tzinfo=timezone(timedelta(hours=2))),
            "0.004",
        ),  # still the 29th
        ("gpt-5.6-sol", datetime(2026, 8, 20, tzinfo=UTC), "0.02"),
        ("gpt-5.6-sol", datetime(2026, 8, 21, tzinfo=UTC), "0.014"),
        ("o3", datetime(2025, 6, 9, tzinfo=UTC), "0.03"),
        ("o3", datetime(2025, 6, 10, tzinfo=UTC), "0.006"),
    ],
)
def test_a_call_has_the_price_of_its_day(model: str, at: datetime, cost: str) -> None:
    assert price(model, USAGE, at=at) == Decimal(cost)


def test_a_tier_is_unknown_before_it_had_a_price() -> None:
    before, after = datetime(2026, 10, 11, tzinfo=UTC), datetime(2026, 10, 12, tzinfo=UTC)
    for tier in ("flex", "priority", "fast", "ultrafast"):
        assert price("gpt-6-astra", USAGE, tier, at=before) is None
        assert price("gpt-6-astra", USAGE, tier, at=after) is not None


@pytest.mark.parametrize(
    ("usage", "usd_per_million"),
    [
        (Usage(input_tokens=1000), 60),
        (Usage(input_tokens=1000, cached_tokens=1000), 6),
        (Usage(input_tokens=1000, cache_write_tokens=1000), 75),
        (Usage(input_tokens=1000, cache_write_tokens=1000, cache_write_12h_tokens=1000), 150),
        (Usage(input_tokens=300_000), 120),
        (Usage(input_tokens=300_000, cache_write_tokens=300_000, cache_write_12h_tokens=300_000), 300),
        (Usage(output_tokens=1000), 300),
    ],
)
def test_the_ultrafast_tier_has_its_listed_price(usage: Usage, usd_per_million: int) -> None:
    for model in ("gpt-6-astra", "gpt-6-astra-2026-10-12"):
        cost = price(model, usage, "ultrafast")
        assert cost == Decimal(usd_per_million) * usage.total_tokens / 1_000_000
    assert price("gpt-6.1-sol", Usage(input_tokens=1000), "ultrafast") == Decimal("0.012")
    assert price("gpt-6.1-terra", usage, "ultrafast") is None


@pytest.mark.parametrize(
    ("tier", "cost"), [("default", "5"), ("flex", "2.5"), ("priority", "10"), ("batch", "2.5")]
)
def test_writes_that_are_kept_for_12_hours_cost_two_and_a_half_times_the_input(tier: str, cost: str) -> None:
    served, configured = (None, "batch") if tier == "batch" else (tier, "standard")
    kept = Usage(input_tokens=10**5, cache_write_tokens=10**5, cache_write_12h_tokens=10**5)
    assert price("gpt-6.1-sol", kept, served, configured) == Decimal(cost) / 10
    half = Usage(input_tokens=10**5, cache_write_tokens=10**5, cache_write_12h_tokens=5 * 10**4)
    assert price("gpt-6.1-sol", half, served, configured) == Decimal(cost) / 10 * Decimal("0.75")


def test_writes_that_a_model_has_no_price_for() -> None:
    assert price("gpt-4o", Usage(input_tokens=1000, cache_write_tokens=1000)) == Decimal("0.0025")
    kept = Usage(input_tokens=1000, cache_write_tokens=1000, cache_write_12h_tokens=1000)
    assert price("gpt-4o", kept) is None


def test_speech_is_billed_by_its_characters() -> None:
    assert speech_price("tts-1", 1_000) == Decimal("0.015")
    assert speech_price("tts-1-hd", 1_000) == Decimal("0.03")
    assert speech_price("gpt-4o-mini-tts", 1_000) is None  # billed by tokens
    assert speech_price("my-voice", 1_000) is None


def test_audio_has_the_price_of_its_day() -> None:
    audio = Usage(input_tokens=1000, output_tokens=1000, audio_input_tokens=1000, audio_output_tokens=1000)
    new, old = datetime(2024, 12, 17, tzinfo=UTC), datetime(2024, 12, 16, tzinfo=UTC)
    assert price("gpt-4o-audio-preview-2024-12-17", audio, at=new) == Decimal("0.12")
    assert price("gpt-4o-audio-preview", audio, at=old) == Decimal("0.3")


def test_tokens_reported_in_two_fields_are_priced_once_at_the_higher_price() -> None:
    heard = Usage(input_tokens=1000, audio_input_tokens=1000, cached_tokens=1000)
    assert price("gpt-audio-mini", heard) == Decimal("0.01")
    written = Usage(input_tokens=1000, cache_write_tokens=800, cached_tokens=900)
    assert price("gpt-5.6-luna", written) == (800 * Decimal("0.25") + 200 * Decimal("0.02")) / 1_000_000


def test_input_images_cost_as_text_and_output_images_have_their_own_price() -> None:
    seen, plain = Usage(input_tokens=1000, image_input_tokens=900), Usage(input_tokens=1000)
    assert price("gpt-4o", seen) == price("gpt-4o", plain)
    assert price("gpt-4o", Usage(input_tokens=10, output_tokens=100, image_output_tokens=90)) is None
    made = Usage(input_tokens=1000, output_tokens=1000, image_output_tokens=1000)
    assert price("chatgpt-image-latest", made) == (5 + 32) / Decimal(1000)


def test_audio_without_its_own_price_has_an_unknown_price() -> None:
    audio = Usage(input_tokens=100, output_tokens=100, audio_input_tokens=50)
    assert price("gpt-4o", audio) is None
    assert (
        price("gpt-audio-mini", audio) == (50 * Decimal("0.6") + 50 * 10 + 100 * Decimal("2.4")) / 1_000_000
    )


@given(
    model=st.sampled_from(["gpt-4o", "gpt-4o-mini", "gpt-5.6-luna", "gpt-6-sol", "gpt-5"]),
    tier=st.sampled_from(["standard", "batch", "priority"]),
    plain=st.integers(0, 400_000),
    parts=st.tuples(st.integers(0, 100_000), st.integers(0, 100_000)),
    output=st.integers(0, 100_000),
)
def test_the_quick_sum_is_the_tables_own(
    model: str, tier: str, plain: int, parts: tuple[int, int], output: int
) -> None:
    cached, written = parts
    written = written if model.startswith(("gpt-5.6", "gpt-6")) else 0
    whole = plain + cached + written
    usage = Usage(input_tokens=whole, cached_tokens=cached, cache_write_tokens=written, output_tokens=output)
    context: Any = {"batch": {"processing": "batch"}, "priority": {"service_tier": "priority"}}.get(tier)
    theirs = calc_price(
        TheirUsage(
            input_tokens=whole, cache_read_tokens=cached, cache_write_tokens=written, output_tokens=output
        ),
        model,
        provider_id="openai",
        price_context=context,
    )
    assert price(model, usage, None, tier) == theirs.total_price
