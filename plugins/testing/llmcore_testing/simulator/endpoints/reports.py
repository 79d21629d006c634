"""The usage and cost reports of OpenAI and Anthropic, in the documented formats, made from `Simulator.bill`.

Sources: https://platform.openai.com/docs/api-reference/usage and https://platform.claude.com/docs/en/api/admin
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from llmcore_testing.simulator.charges import Charge
from llmcore_testing.simulator.endpoints.anthropic_errors import refuse
from llmcore_testing.simulator.openai_errors import Refused, make_refusal
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["answer_anthropic_costs", "answer_anthropic_usage", "answer_openai_costs", "answer_openai_usage"]

_MOST_COST_DAYS: Final = 180
_MOST_USAGE_DAYS: Final = 31
_DEFAULT_DAYS: Final = 7
_DAY_S: Final = 86400
_OPENAI_LINES: Final = {
    "input": "input_tokens", "cached_input": "cached_input_tokens", "cache_write": "cache_write_tokens",
    "cache_write_long": "cache_write_12h_tokens", "output": "output_tokens",
}  # fmt: skip
_ANTHROPIC_TYPES: Final = {
    "input": ("uncached_input_tokens", "Input Tokens"),
    "cached_input": ("cache_read_input_tokens", "Input Tokens, Cache Read"),
    "cache_write": ("cache_creation.ephemeral_5m_input_tokens", "Input Tokens, Cache Write (5m)"),
    "cache_write_long": ("cache_creation.ephemeral_1h_input_tokens", "Input Tokens, Cache Write (1h)"),
    "output": ("output_tokens", "Output Tokens"),
}
_CENTS_DIGITS: Final = Decimal("0.000001")
"""The precision of Anthropic's amounts, which are in cents."""

Row = dict[str, Any]


class _Query:
    """The query of a report: days, groups and the page."""

    def __init__(self, call: Call, refuse: Callable[[int, str], Answer], *, most: int) -> None:
        pairs = call.request.query_pairs
        self._values = dict(pairs)
        self.groups = [value for name, value in pairs if name in {"group_by[]", "group_by"}]
        self._refuse = refuse
        start, end = self._read_day("start_time", "starting_at"), self._read_day("end_time", "ending_at")
        if start is None:
            raise Refused(refuse(400, "Missing required parameter: the start of the period"))
        limit = self._values.get("limit", str(_DEFAULT_DAYS))
        if not limit.isdecimal() or not 1 <= int(limit) <= most:
            raise Refused(refuse(400, f"Invalid 'limit': must be between 1 and {most}, got {limit}"))
        if self._values.get("bucket_width", "1d") != "1d":
            raise Refused(refuse(400, "this report of the simulator has only the bucket_width 1d"))
        today = datetime.now(UTC).date()
        skipped = self._values.get("page", "page_0").removeprefix("page_")
        first = start + timedelta(days=int(skipped) if skipped.isdecimal() else 0)
        last = end or today + timedelta(days=1)
        self.days = [first + timedelta(days=number) for number in range(min((last - first).days, int(limit)))]
        following = first + timedelta(days=len(self.days))
        self.next_page = f"page_{(following - start).days}" if following < last else None

    def _read_day(self, seconds: str, text: str) -> date | None:
        if seconds in self._values:
            return datetime.fromtimestamp(int(self._values[seconds]), UTC).date()
        if text in self._values:
            try:
                return datetime.fromisoformat(self._values[text]).astimezone(UTC).date()
            except ValueError:
                answer = self._refuse(400, f"Invalid {text}")
            raise Refused(answer)
        return None


def answer_openai_costs(call: Call) -> Answer:
    """Return the costs by day and group."""
    query = _open_openai(call, _MOST_COST_DAYS)

    def make(charges: Sequence[Charge]) -> list[Row]:
        sums: defaultdict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
        for charge in charges:
            for kind, cost in charge.costs.items():
                item = f"{charge.model}, {_OPENAI_LINES[kind]}" if kind in _OPENAI_LINES else kind
                tier = "" if charge.tier == "standard" else f" {charge.tier}"
                values = {"line_item": item.replace(",", f"{tier},", 1) if charge.model else item,
                          "project_id": charge.group, "api_key_id": charge.key}  # fmt: skip
                sums[tuple(values[name] if name in query.groups else None for name in values)] += cost
        return [
            {"object": "organization.costs.result", "amount": {"value": float(amount), "currency": "usd"},
             "line_item": item, "project_id": group, "api_key_id": key, "quantity": None}
            for (item, group, key), amount in sums.items()
        ]  # fmt: skip

    return _answer_openai(call, query, make)


def answer_openai_usage(call: Call, *, endpoint: str) -> Answer:
    """Return the usage of one kind of request by day and group."""
    query = _open_openai(call, _MOST_USAGE_DAYS)

    def make(charges: Sequence[Charge]) -> list[Row]:
        sums: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        for charge in charges:
            if charge.endpoint != endpoint or not charge.model:
                continue
            values = {"project_id": charge.group, "api_key_id": charge.key, "model": charge.model,
                      "batch": charge.tier == "batch", "service_tier": "default" if charge.tier == "batch" else charge.tier}  # fmt: skip
            group = tuple(values[name] if name in query.groups else None for name in values)
            sums[group].update(charge.tokens)
            sums[group]["requests"] += charge.requests
        return [_make_openai_usage(endpoint, group, counts) for group, counts in sums.items()]

    return _answer_openai(call, query, make)


def _make_openai_usage(endpoint: str, group: tuple[Any, ...], counts: Counter[str]) -> Row:
    project, key, model, batch, tier = group
    written = counts["cache_write"] + counts["cache_write_long"]
    row: Row = {
        "object": f"organization.usage.{endpoint}.result", "num_model_requests": counts["requests"],
        "project_id": project, "user_id": None, "api_key_id": key, "model": model,
    }  # fmt: skip
    if endpoint == "audio_speeches":
        return row | {"characters": counts["characters"]}
    row["input_tokens"] = counts["input"] + counts["cached_input"] + written
    if endpoint == "embeddings":
        return row
    return row | {
        "output_tokens": counts["output"], "input_cached_tokens": counts["cached_input"],
        "input_cache_write_tokens": written, "input_cache_write_12h_tokens": counts["cache_write_long"],
        "input_audio_tokens": 0, "output_audio_tokens": 0, "batch": batch, "service_tier": tier,
    }  # fmt: skip


def answer_anthropic_costs(call: Call) -> Answer:
    """Return the costs by day and group, in cents as text."""
    query = _open_anthropic(call)
    described = "description" in query.groups

    def make(charges: Sequence[Charge]) -> list[Row]:
        sums: defaultdict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
        for charge in charges:
            for kind, cost in charge.costs.items():
                workspace = charge.group if "workspace_id" in query.groups else None
                sums[(workspace, *((charge.model, kind, charge.tier) if described else (None,) * 3))] += cost
        return [_make_anthropic_cost(group, amount) for group, amount in sums.items()]

    return _answer_anthropic(call, query, make)


def _make_anthropic_cost(group: tuple[Any, ...], amount: Decimal) -> Row:
    workspace, model, kind, tier = group
    cents = (amount * 100).quantize(_CENTS_DIGITS, ROUND_HALF_EVEN)
    row: Row = {
        "amount": f"{cents.normalize():f}", "currency": "USD", "workspace_id": workspace, "description": None,
        "cost_type": None, "context_window": None, "model": None, "service_tier": None, "token_type": None,
    }  # fmt: skip
    if kind is None:
        return row
    if kind not in _ANTHROPIC_TYPES:
        return row | {"description": kind, "cost_type": "web_search"}
    token_type, words = _ANTHROPIC_TYPES[kind]
    return row | {
        "description": f"{model} Usage - {words}", "cost_type": "tokens", "context_window": "0-200k", "model": model,
        "service_tier": tier, "token_type": token_type,
    }  # fmt: skip


def answer_anthropic_usage(call: Call) -> Answer:
    """Return the usage by day and group."""
    query = _open_anthropic(call)

    def make(charges: Sequence[Charge]) -> list[Row]:
        sums: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        for charge in charges:
            if not charge.model:
                continue
            values = {"api_key_id": charge.key, "workspace_id": charge.group, "model": charge.model,
                      "service_tier": charge.tier, "context_window": "0-200k"}  # fmt: skip
            sums[tuple(values[name] if name in query.groups else None for name in values)].update(
                charge.tokens
            )
        return [
            {"api_key_id": key, "workspace_id": workspace, "model": model, "service_tier": tier, "context_window": window,
             "uncached_input_tokens": counts["input"], "cache_read_input_tokens": counts["cached_input"],
             "cache_creation": {"ephemeral_5m_input_tokens": counts["cache_write"],
                                "ephemeral_1h_input_tokens": counts["cache_write_long"]},
             "output_tokens": counts["output"], "server_tool_use": {"web_search_requests": 0}}
            for (key, workspace, model, tier, window), counts in sums.items()
        ]  # fmt: skip

    return _answer_anthropic(call, query, make)


def _open_openai(call: Call, most: int) -> _Query:
    key = call.request.headers.get("authorization", "").removeprefix("Bearer ")
    if not key.startswith("sk-admin-"):
        scopes = "You have insufficient permissions for this operation. Missing scopes: api.usage.read."
        raise Refused(make_refusal(403, scopes, code="insufficient_permissions"))
    return _Query(call, make_refusal, most=most)


def _open_anthropic(call: Call) -> _Query:
    if not call.request.headers.get("x-api-key", "").startswith("sk-ant-admin-"):
        raise Refused(refuse(401))
    if "anthropic-version" not in call.request.headers:
        raise Refused(refuse(400, "anthropic-version: header is required"))
    return _Query(call, refuse, most=_MOST_USAGE_DAYS)


def _answer_openai(call: Call, query: _Query, make: Callable[[Sequence[Charge]], list[Row]]) -> Answer:
    buckets = [
        {"object": "bucket", "start_time": start, "end_time": start + _DAY_S, "results": make(charges)}
        for start, charges in _divide(call.script.charges, query.days)
    ]
    page = {
        "object": "page",
        "data": buckets,
        "has_more": query.next_page is not None,
        "next_page": query.next_page,
    }
    return Answer(pieces=(encode(page),), counted="reports")


def _answer_anthropic(call: Call, query: _Query, make: Callable[[Sequence[Charge]], list[Row]]) -> Answer:
    def stamp(seconds: int) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

    buckets = [
        {"starting_at": stamp(start), "ending_at": stamp(start + _DAY_S), "results": make(charges)}
        for start, charges in _divide(call.script.charges, query.days)
    ]
    page = {"data": buckets, "has_more": query.next_page is not None, "next_page": query.next_page}
    return Answer(pieces=(encode(page),), counted="reports")


def _divide(charges: Iterable[Charge], days: Sequence[date]) -> Iterator[tuple[int, list[Charge]]]:
    """Yield the start of each day in seconds since 1970, with the charges of the day."""
    by_day: defaultdict[date, list[Charge]] = defaultdict(list)
    for charge in charges:
        by_day[datetime.fromtimestamp(charge.at, UTC).date()].append(charge)
    for day in days:
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        yield start, by_day[day]
