"""OpenAI's cost and usage reports: the documented examples, line items and amounts."""

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
from llmcore_openai_optimized.options import OpenAIBillOptions
from llmcore_openai_optimized.plugin import create_bill

_START = 1_730_419_200
"""2024-11-01 in UTC, as in the examples of the vendor."""


def parse(*results: Mapping[str, Any], **options: Any) -> Bill:
    page = {
        "object": "page",
        "data": [{"object": "bucket", "start_time": _START, "end_time": _START + 86_400, "results": list(results)}],
        "has_more": False,
        "next_page": None,
    }  # fmt: skip
    document = json.loads(json.dumps(page), parse_float=Decimal)
    return create_bill(OpenAIBillOptions(**options)).parse([document])


def make_cost(line_item: str | None, value: float | str = 0.06, **others: Any) -> dict[str, Any]:
    return {
        "object": "organization.costs.result", "amount": {"value": value, "currency": "usd"}, "line_item": line_item,
        "project_id": "proj_abc", "api_key_id": "key_abc", **others,
    }  # fmt: skip


def test_the_documented_examples_are_read() -> None:
    bill = parse(make_cost("Image models"))
    (line,) = bill.lines
    assert (line.day, line.amount, line.resolution) == (date(2024, 11, 1), Decimal("0.06"), Decimal("0.005"))
    assert (line.model, line.kind, line.key, line.group) == (None, None, "key_abc", "proj_abc")
    usage = {
        "object": "organization.usage.completions.result", "input_tokens": 1000, "output_tokens": 500,
        "input_cached_tokens": 800, "num_model_requests": 5, "project_id": None, "user_id": None, "api_key_id": None,
        "model": "gpt-6-astra", "batch": False, "service_tier": None,
    }  # fmt: skip
    (row,) = parse(usage).usage
    assert row.amounts == {bills.INPUT: 200, bills.CACHED_INPUT: 800, bills.OUTPUT: 500}
    assert (row.requests, row.tier, row.key) == (5, "standard", None)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ("gpt-6-astra, input_tokens", ("gpt-6-astra", bills.INPUT, "standard")),
        ("gpt-6-astra, output_tokens", ("gpt-6-astra", bills.OUTPUT, "standard")),
        ("gpt-4o-2024-08-06, input", ("gpt-4o-2024-08-06", bills.INPUT, "standard")),
        ("gpt-4o-2024-08-06, cached input", ("gpt-4o-2024-08-06", bills.CACHED_INPUT, "standard")),
        ("gpt-6-astra, input_cached_tokens", ("gpt-6-astra", bills.CACHED_INPUT, "standard")),
        ("gpt-6-astra, input_cache_write_30m_tokens", ("gpt-6-astra", bills.CACHE_WRITE, "standard")),
        ("gpt-6-astra, input_cache_write_12h_tokens", ("gpt-6-astra", bills.CACHE_WRITE_LONG, "standard")),
        ("gpt-4o-audio, audio output", ("gpt-4o-audio", bills.AUDIO_OUTPUT, "standard")),
        ("gpt-4o batch, input", ("gpt-4o", bills.INPUT, "batch")),
        ("gpt-4o, priority output", ("gpt-4o", bills.OUTPUT, "priority")),
        ("gpt-4o, cached audio input", ("gpt-4o", bills.CACHED_INPUT, "standard")),
        ("web search tool calls | gpt-4o", (None, None, "standard")),
        ("code interpreter sessions, minutes", (None, None, "standard")),
    ],
)
def test_line_items_name_model_kind_and_tier(item: str, found: tuple[Any, ...]) -> None:
    (line,) = parse(make_cost(item)).lines
    assert (line.model, line.kind, line.tier) == found
    assert line.label == item


def test_amounts_keep_every_digit() -> None:
    for value in (0.13080438340307526, "0.13080438340307526"):
        (line,) = parse(make_cost("gpt-6, input", value)).lines
        assert line.amount == Decimal("0.13080438340307526")


def test_keys_and_projects_of_others_are_not_own() -> None:
    costs = [make_cost("gpt-6, input", api_key_id=key, project_id=project) for key in ("a", "b", None) for project in ("p", "q")]  # fmt: skip
    for options, own in (
        ({}, 6),
        ({"api_key_ids": ("a",)}, 2),
        ({"api_key_ids": ("a",), "project_ids": ("p",)}, 1),
    ):
        assert sum(line.own for line in parse(*costs, **options).lines) == own


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (make_cost(None), "must be grouped by line_item"),
        (make_cost("gpt-6, input", amount={"value": 1, "currency": "eur"}), "is in eur, not in USD"),
        (make_cost("gpt-6, input", amount=None), "has no amount"),
        (
            {"object": "organization.usage.completions.result", "input_tokens": 1, "model": None},
            "not grouped by model",
        ),
        ({"object": "chat.completion"}, "unknown object `chat.completion`"),
    ],
)
def test_a_report_of_another_form_is_refused(result: Mapping[str, Any], fault: str) -> None:
    with pytest.raises(BadRequest, match=fault) as caught:
        parse(result)
    assert "--save" in (caught.value.fix or "")
