"""Anthropic's cost and usage reports: the documented examples, cents as text, and costs without API keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from llmcore.errors import BadRequest
from llmcore.support import bills
from llmcore.support.bills import Bill
from llmcore_anthropic.options import AnthropicBillOptions
from llmcore_anthropic.plugin import create_bill


def parse(*results: Mapping[str, Any], **options: Any) -> Bill:
    bucket = {
        "starting_at": "2025-08-01T00:00:00Z",
        "ending_at": "2025-08-02T00:00:00Z",
        "results": list(results),
    }
    document = json.loads(
        json.dumps({"data": [bucket], "has_more": False, "next_page": None}), parse_float=Decimal
    )
    return create_bill(AnthropicBillOptions(**options)).parse([document])


def make_cost(amount: str = "123.78912", **others: Any) -> dict[str, Any]:
    return {
        "amount": amount, "context_window": "0-200k", "cost_type": "tokens", "currency": "USD",
        "description": "Claude Sonnet 4 Usage - Input Tokens", "model": "claude-sonnet-4-20250514",
        "service_tier": "standard", "token_type": "uncached_input_tokens", "workspace_id": "wrkspc_01", **others,
    }  # fmt: skip


def make_usage(key: str | None = "apikey_01", **others: Any) -> dict[str, Any]:
    return {
        "api_key_id": key, "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
        "cache_read_input_tokens": 200, "context_window": "0-200k", "model": "claude-sonnet-4-20250514",
        "output_tokens": 500, "server_tool_use": {"web_search_requests": 10}, "service_tier": "standard",
        "uncached_input_tokens": 1500, "workspace_id": "wrkspc_01", **others,
    }  # fmt: skip


def test_the_documented_examples_are_read() -> None:
    bill = parse(make_cost(), make_usage())
    (line,), (row,) = bill.lines, bill.usage
    assert line.amount == Decimal("1.2378912")
    assert line.resolution == Decimal("5e-8")
    assert (line.day, line.model, line.kind) == (date(2025, 8, 1), "claude-sonnet-4-20250514", bills.INPUT)
    assert (line.key, line.group) == ("apikey_01", "wrkspc_01")
    assert row.amounts == {
        bills.INPUT: 1500, bills.CACHED_INPUT: 200, bills.CACHE_WRITE: 500, bills.CACHE_WRITE_LONG: 1000, bills.OUTPUT: 500
    }  # fmt: skip
    assert row.requests is None


def test_a_cost_is_divided_among_the_keys_by_their_tokens() -> None:
    usage = [make_usage("a", uncached_input_tokens=1), make_usage("b", uncached_input_tokens=2)]
    bill = parse(make_cost("100"), *usage, api_key_ids=("a",))
    amounts = {line.key: line.amount for line in bill.lines}
    assert sum(amounts.values()) == 1
    assert abs(amounts["a"] - Decimal(1) / 3) < Decimal("1e-12")
    assert [line.own for line in bill.lines] == [True, False]


def test_a_cost_goes_to_its_own_workspace_window_and_tier() -> None:
    for field, other in (
        ("workspace_id", "wrkspc_02"),
        ("context_window", "200k-1M"),
        ("service_tier", "batch"),
    ):
        bill = parse(make_cost("100", **{field: other}), make_usage("a"), make_usage("b", **{field: other}))
        assert [line.key for line in bill.lines] == ["b"]


def test_the_tier_that_is_paid_by_contract_is_left_out() -> None:
    assert not parse(make_usage(service_tier="priority")).usage


def test_the_default_workspace_has_an_empty_name() -> None:
    costs = [make_cost(workspace_id=None), make_cost(workspace_id="wrkspc_01")]
    bill = parse(*costs, workspace_ids=("",))
    assert [line.own for line in bill.lines] == [True, False]


def test_searches_are_fees() -> None:
    (line,) = parse(
        make_cost("12", cost_type="web_search", token_type=None, model=None, description="Web Search Usage")
    ).lines
    assert (line.amount, line.kind, line.label) == (Decimal("0.12"), None, "Web Search Usage")


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (make_cost(description=None), "must be grouped by description"),
        (make_cost(currency="EUR"), "is in EUR, not in USD"),
        (make_cost("much"), "has the amount 'much'"),
        (make_usage(model=None), "not grouped by model"),
        ({"id": "msg_1"}, "neither `amount` nor `uncached_input_tokens`"),
    ],
)
def test_a_report_of_another_form_is_refused(result: Mapping[str, Any], fault: str) -> None:
    with pytest.raises(BadRequest, match=fault) as caught:
        parse(result)
    assert "--save" in (caught.value.fix or "")
