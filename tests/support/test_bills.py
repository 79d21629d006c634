"""The values of bills: exact amounts, and their division without a remainder."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.support.bills import divide, find_resolution, normalise_tier, parse_amount


@given(
    amount=st.decimals(-(10**6), 10**6, allow_nan=False, places=20),
    shares=st.lists(st.integers(0, 10**9), min_size=1, max_size=9),
)
def test_the_parts_of_an_amount_sum_to_it(amount: Decimal, shares: list[int]) -> None:
    parts = divide(amount, shares)
    assert sum(parts) == amount
    total = sum(shares)
    for part, share in zip(parts, shares, strict=True):
        assert total == 0 or abs(part - amount * share / total) < Decimal("1e-12")


def test_a_share_of_nothing_gets_nothing() -> None:
    assert divide(Decimal(1), [0, 3, 0]) == [0, 1, 0]


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("123.45", "123.45"), (0.1, "0.1"), (0.13080438340307526, "0.13080438340307526"), (7, "7"), (Decimal("1e-9"), "1e-9"),
        ("-0.5", "-0.5"), (True, None), (None, None), ("much", None), ("nan", None), (float("inf"), None), ([], None),
    ],
)  # fmt: skip
def test_amounts_are_exact_or_none(value: object, amount: str | None) -> None:
    assert parse_amount(value) == (None if amount is None else Decimal(amount))


def test_the_resolution_is_half_a_unit_of_the_last_digit() -> None:
    found = [find_resolution(Decimal(text)) for text in ("0.06", "123.78912", "12", "1e3")]
    assert found == [Decimal("0.005"), Decimal("0.000005"), Decimal("0.005"), Decimal("0.005")]


def test_tiers_have_one_name() -> None:
    names = [normalise_tier(name) for name in (None, "", "default", "auto", "standard_only", "Batch", "flex")]
    assert names == ["standard"] * 5 + ["batch", "flex"]
