"""The simulated cost and usage reports, read by the vendor's SDK."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from openai import OpenAI

from llmcore_testing.simulator import Charge, Simulator

_START: Final = 1_730_419_200
"""2024-11-01 in UTC, as in the examples of the vendor."""


def test_the_simulator_answers_the_vendors_sdk() -> None:
    """The SDK checks names and types of the simulated reports."""
    tokens = {"input": 1000, "cached_input": 800, "output": 500}
    costs = {"input": Decimal("0.01"), "cached_input": Decimal("0.002"), "output": Decimal("0.03")}
    with (
        Simulator() as upstream,
        OpenAI(
            base_url=upstream.base_url, admin_api_key="sk-admin-1", _strict_response_validation=True
        ) as client,
    ):
        upstream.bill([Charge(at=_START + 5, model="gpt-6-astra", tokens=tokens, costs=costs, requests=5)])
        usage = client.admin.organization.usage
        page = usage.costs(
            start_time=_START, end_time=_START + 2 * 86_400, limit=1, group_by=["line_item", "api_key_id"]
        )
        assert (page.has_more, len(page.data)) == (True, 1)
        found: list[Any] = [each.to_dict() for each in page.data[0].results]
        assert {(each["line_item"], each["amount"]["value"]) for each in found} == {
            ("gpt-6-astra, input_tokens", 0.01), ("gpt-6-astra, cached_input_tokens", 0.002), ("gpt-6-astra, output_tokens", 0.03)
        }  # fmt: skip
        assert {each["api_key_id"] for each in found} == {"key_1"}
        assert page.next_page is not None
        last = usage.costs(start_time=_START, end_time=_START + 2 * 86_400, limit=1, page=page.next_page)
        assert (last.has_more, last.data[0].results) == (False, [])
        counted = usage.completions(start_time=_START, end_time=_START + 86_400, group_by=["model", "batch"])
        (row,) = [each.to_dict() for each in counted.data[0].results]
        assert (row["input_tokens"], row["input_cached_tokens"], row["num_model_requests"]) == (1800, 800, 5)
