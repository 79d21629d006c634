"""Encode the arguments of the database's functions as JSON, and decode the results.

An item of a function, such as `restate`, is one element of the JSON array that the function takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.support.budget_periods import get_periods
from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_values import (
    Amount,
    ApiKey,
    Counter,
    Limit,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
    parse_scope,
)
from llmcore.support.money import from_nano, to_nano

__all__ = [
    "Opened",
    "decode",
    "decode_answer",
    "decode_counter",
    "decode_key",
    "encode",
    "encode_key",
    "encode_limits",
    "encode_request",
    "encode_row",
    "encode_scope",
    "encode_settlement",
    "get_day",
    "make_closed_row",
    "make_open_row",
]

_json: Final = msgspec.json.Encoder()
_decode: Final = msgspec.json.Decoder().decode
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_texts: dict[Scope, str] = {}


class Opened(NamedTuple):
    """An open row."""

    request: ReserveRequest
    day: str
    at: float


def encode(value: Any) -> str:
    """Return *value* as JSON. U+FFFD replaces NUL characters, because PostgreSQL does not accept them in text."""
    text = _json.encode(value).decode()
    return _NUL.sub("\\1\ufffd", text) if "\\u0000" in text else text


def decode(text: str | bytes) -> Any:
    """Return the value of a JSON text."""
    return _decode(text)


def encode_request(request: ReserveRequest) -> dict[str, Any]:
    """Return an item of `reserve`."""
    charge = request.charge
    return {
        "key": request.key,
        "call": charge.call,
        "attempt": charge.attempt,
        "kind": charge.kind,
        "provider": charge.provider,
        "model": charge.model,
        "user": charge.user,
        "tags": charge.tags,
        "tier": charge.tier,
        "owner": charge.owner,
        "reserved": request.maximum,
        "characters": charge.characters,
        "limits": encode_limits(request.limits),
    }


def encode_limits(limits: Sequence[Limit]) -> list[tuple[str, str, int, bool]]:
    """Return *limits* for an item of `reserve`.

    Each has the text of its scope, its period, its amount, and True if it refuses requests.
    """
    return [(_get_text(scope), scope.per, amount, refuses) for scope, amount, refuses in limits]


def get_day(at: float) -> str:
    """Return the day of a row: `2026-11-29`, in UTC."""
    return get_periods(at)[0]


def decode_answer(answer: Mapping[str, Any], request: ReserveRequest) -> Reserved | Refusal | None:
    """Return the result for *request*.

    Return None if the server asks for another statement first, such as the creation of counters; see
    `Reserve`.
    """
    if "row" in answer:
        return Reserved(answer["row"], answer["at"], [decode_counter(each) for each in answer["counters"]])
    if "refused" in answer:
        limit = request.limits[answer["refused"]]
        amount = Amount(request.maximum, request.charge.characters)
        return Refusal(limit, decode_counter(answer["counter"]), amount.get_amount(limit.scope.unit))
    return None


def decode_counter(values: Sequence[Any]) -> Counter:
    """Return the counter in a result of `reserve`, `settle` or `sync_leases`."""
    period, text, spent, reserved, alerted = values
    return Counter(period, parse_scope(text), text, spent, reserved, alerted)


def encode_settlement(settlement: Settlement) -> dict[str, Any]:
    """Return an item of `settle`. The item of a request that was not sent has only the fields "key" and "row"."""
    outcome = settlement.outcome
    if not outcome.requested:
        return {"key": settlement.request.key, "row": _get_day(settlement)}
    usage = outcome.usage
    return {
        "key": settlement.request.key,
        "row": _get_day(settlement),
        "state": settlement.state,
        "cost": None if outcome.cost is None else to_nano(outcome.cost),
        "cost_source": outcome.cost_source,
        "uncertain": outcome.uncertain,
        "estimated": usage.estimated,
        "served": outcome.model or None,
        "latency_ms": outcome.latency_s * 1000,
        "first_token_ms": None if outcome.first_token_s is None else outcome.first_token_s * 1000,
        "tier": outcome.tier,
        "request_id": outcome.request_id,
        "error": outcome.error,
        "characters": outcome.characters,
        "tokens": (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.cache_write_12h_tokens,
            usage.reasoning_tokens,
            usage.audio_input_tokens,
            usage.audio_output_tokens,
            usage.image_input_tokens,
            usage.image_output_tokens,
        ),
    }


def _get_day(settlement: Settlement) -> Any:
    """Return the day of the settlement's row; None if the caller knows only the key of the row."""
    if isinstance(settlement.row, int):  # `LedgerRow.id`: another process has opened the row
        return datetime.fromtimestamp(settlement.at, UTC).date()
    return settlement.row


def encode_scope(scope: Scope) -> dict[str, Any]:
    """Return *scope* as a mapping of columns of the table `budgets`."""
    provider, _, model = (scope.model or "").partition(":")
    return {
        "scope": _get_text(scope),
        "per": scope.per,
        "provider": provider or None,
        "model": model or None,
        "tag": scope.tag,
        "user": scope.user,
        "unit": scope.unit,
    }


def encode_row(row: LedgerRow) -> dict[str, Any]:
    """Return a row as an item of `record`."""
    return msgspec.structs.asdict(row)


def encode_key(key: ApiKey) -> str:
    """Return an API key as the argument of `insert_key`."""
    budget = None if key.budget is None else to_nano(key.budget)
    return encode(msgspec.structs.asdict(key) | {"digest": f"\\x{key.digest.hex()}", "budget": budget})


def decode_key(values: Sequence[Any]) -> ApiKey:
    """Return the API key in a row of `keys`, whose columns are the fields of `ApiKey`."""
    fields = dict(zip(ApiKey.__struct_fields__, values, strict=True))
    budget = None if fields["budget"] is None else from_nano(fields["budget"])
    changed = {"digest": bytes(fields["digest"]), "budget": budget, "models": tuple(fields["models"])}
    return ApiKey(**fields | changed)


def make_open_row(opened: Opened, owner: str) -> dict[str, Any]:
    """Return the row that `reserve` has opened, as an item of `restate`."""
    request, day, at = opened
    charge = request.charge
    row = LedgerRow(
        at=at,
        call=charge.call,
        attempt=charge.attempt,
        state="open",
        kind=charge.kind,
        provider=charge.provider,
        model=charge.model,
        reserved=request.maximum,
        characters=charge.characters,
        tier_asked=charge.tier,
        user=charge.user,
        tags=charge.tags,
        owner=owner,
    )
    return {**encode_row(row), "day": day, "key": request.key}


def make_closed_row(opened: Mapping[str, Any], settlement: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row *opened* after its *settlement*, as an item of `restate`."""
    fields = {name: value for name, value in settlement.items() if name not in {"row", "tokens"}}
    names = LedgerRow.__struct_fields__
    first = names.index("input_tokens")
    tokens = dict(zip(names[first : first + 10], settlement["tokens"], strict=True))
    return {**opened, **fields, **tokens, "owner": None}


def _get_text(scope: Scope) -> str:
    text = _texts.get(scope)
    if text is None:
        if len(_texts) > 1000:  # noqa: PLR2004 - bounds the memory for new scopes
            _texts.clear()
        text = _texts[scope] = scope.format_text()
    return text
